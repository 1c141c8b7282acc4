package journal

import (
	"bytes"
	"maps"

	"github.com/arcboxlabs/arcbox-engine/fsm"
)

// readSnapshots keeps the snapshots, to be compared as the scan comes to the
// records that they are of. A removed machine's says no more than that.
func (v *verification) readSnapshots() {
	err := v.each([]byte("s/"), func(k, val []byte) error {
		m, _, kind := keyOf(k)
		if kind != snapshotKey {
			return nil // readKeys tells
		}
		id := machineID(m)
		s, err := decodeSnapshot(m, val)
		switch {
		case err != nil:
			v.fault(0, id, "snapshot: %v", err)
		case s.Seq > v.end.seq:
			v.fault(s.Seq, id, "the snapshot is of a record behind the end")
		case s.State != fsm.Removed:
			v.snapshots[id], v.due[s.Seq] = snapshot{s.Seq, bytes.Clone(val)}, true
		}
		return nil
	})
	if err != nil {
		v.fault(0, "", "snapshots: %v", err)
	}
}

// compare holds a snapshot against what the records up to it add up to.
func (v *verification) compare(k machineKey, seq uint64) {
	id := machineID(k)
	s, ok := v.snapshots[id]
	if !ok || s.seq != seq {
		return
	}
	delete(v.snapshots, id)
	m := v.fold.machine(id)
	if was, err := decodeSnapshot(k, s.value); err == nil && m.Damaged && !was.Damaged {
		return // it was folded before the damage
	}
	if now, err := encodeSnapshot(m); err != nil || !bytes.Equal(now, s.value) {
		v.fault(seq, id, "the snapshot is not what its records add up to")
	}
}

// opened holds what an opening engine makes of the snapshots and the tail
// against what all records add up to.
func (v *verification) opened() error {
	for id, s := range v.snapshots {
		v.fault(s.seq, id, "there is a snapshot of a record that is not this machine's")
	}
	f := newFold()
	if v.loadSnapshots(f, v.end.seq) != nil {
		return nil // which was told; an opening engine reads all records then
	}
	err := v.foldRange(f, v.end.tail, v.end.seq, func(uint64, string, error) {}) // told, too
	if err != nil {
		return err
	}
	all := maps.Clone(f.machines)
	maps.Copy(all, v.fold.machines)
	for id := range all {
		is, want := f.machine(id), v.fold.machine(id)
		gone := want.State == fsm.Removed && (is.ID == "" || is.State == fsm.Removed)
		if gone || is.ID != "" && want.Damaged && !is.Damaged { // its snapshot is older than the damage
			continue
		}
		a, err := encodeSnapshot(is)
		if err != nil {
			return err
		}
		b, err := encodeSnapshot(want)
		if err != nil {
			return err
		}
		if !bytes.Equal(a, b) {
			v.fault(is.Seq, id, "its snapshot and the tail make it %s at record %d, all records %s at %d",
				stateOf(is), is.Seq, stateOf(want), want.Seq)
		}
	}
	return nil
}

func stateOf(m fsm.Machine) string {
	if m.ID == "" {
		return "unknown"
	}
	return string(m.State)
}

func (v *verification) nameKey(id, key string) {
	if _, ok := v.names[key]; ok {
		delete(v.names, key)
		return
	}
	if m := v.fold.machine(id); m.Damaged || m.ID == "" && v.rep.Records < v.end.seq {
		return // the record that gave it the name is lost
	}
	v.fault(0, id, "the index of names has one that it never had: %s", nameOf(key))
}

// request holds what is kept of a request against the record that it led to.
func (v *verification) request(key string, val []byte) {
	want, recent := v.asked[key]
	delete(v.asked, key)
	o, ok := decodeOutcome(val)
	if !ok {
		v.fault(0, "", "what is kept of the request %s can't be read", key)
		return
	}
	b, err := v.get(keyRecord(o.Seq))
	if err != nil {
		v.fault(o.Seq, o.Machine, "the request %s led to a record that can't be read: %v", key, err)
		return
	}
	r, err := decode(o.Seq, b)
	if err != nil {
		return // which was told
	}
	is := Outcome{r.Seq, r.Machine, r.Kind, r.Time}
	if o != is || string(keyRequest(r.Principal, r.Request)) != key || recent && want != o {
		v.fault(o.Seq, o.Machine, "the request %s led to another record", key)
	}
}
