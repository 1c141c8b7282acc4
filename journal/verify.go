package journal

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/maphash"

	"github.com/arcboxlabs/arcbox-engine/fsm"
)

// Report is what Verify found.
type Report struct {
	First, Last uint64 // the stretch that was looked at
	Records     uint64 // that could be read
	Lost        uint64 // gravestones, which an earlier recover put where it lost a record
	Faults      []Fault
}

// Fault is one thing that is not as it should be.
type Fault struct {
	Seq     uint64 // 0 where it concerns no record
	Machine string
	What    string
}

// maxFaults bounds a report; the rest is not better than the beginning.
const maxFaults = 1000

// verification is one Verify under way.
type verification struct {
	j         *Journal
	rep       Report
	fold      *fold
	snapshots map[string]snapshot
	before    hash
	chained   bool // the record before could be read
	seed      maphash.Seed
	listed    uint64 // sum over all records, in any order: what m/ must hold
	indexed   uint64 // the same sum over m/
}

type snapshot struct {
	seq   uint64
	value []byte
}

// Verify reads every durable record and holds against each other: sequence
// numbers, hash chain, encoding, Table 1, the index, the snapshots and the end.
// It returns an error only where it could not go on. Appends may go on meanwhile.
func (j *Journal) Verify(ctx context.Context) (Report, error) {
	leave, err := j.enter()
	if err != nil {
		return Report{}, err
	}
	defer leave()
	v := &verification{j: j, fold: newFold(), snapshots: map[string]snapshot{}, chained: true, seed: maphash.MakeSeed()}
	if v.rep.Last = j.durable.Load(); v.rep.Last > 0 {
		v.rep.First = 1
	}
	v.readSnapshots()
	err = j.scan(1, v.rep.Last, func(s stored) error {
		v.record(s)
		return ctx.Err()
	})
	if err == nil {
		err = v.readIndex(ctx)
	}
	if err != nil {
		return v.rep, fmt.Errorf("verify: %w", err)
	}
	for id, s := range v.snapshots {
		v.fault(s.seq, id, "there is a snapshot of a record that is not this machine's")
	}
	return v.rep, nil
}

func (v *verification) fault(seq uint64, machine, format string, args ...any) {
	if len(v.rep.Faults) < maxFaults {
		v.rep.Faults = append(v.rep.Faults, Fault{seq, machine, fmt.Sprintf(format, args...)})
	}
}

// readSnapshots keeps those that are durable. One may be written meanwhile: it
// is not looked at.
func (v *verification) readSnapshots() {
	err := v.j.each([]byte("s/"), func(k, val []byte) error {
		if len(k) != 2+16 {
			v.fault(0, "", "a snapshot has the key %x", k)
			return nil
		}
		id := machineID(machineKey(k[2:]))
		m, err := decodeSnapshot(machineKey(k[2:]), val)
		switch {
		case err != nil:
			v.fault(0, id, "snapshot: %v", err)
		case m.Seq <= v.rep.Last && m.State != fsm.Removed:
			v.snapshots[id] = snapshot{m.Seq, bytes.Clone(val)}
		}
		return nil
	})
	if err != nil {
		v.fault(0, "", "snapshots: %v", err)
	}
}

func (v *verification) record(s stored) {
	var r fsm.Record
	if s.err == nil {
		if v.chained && (len(s.value) < hashSize || !bytes.Equal(s.value[len(s.value)-hashSize:], v.before[:])) {
			v.fault(s.seq, "", "the hash that it holds of the record before is not that record's")
		}
		v.before, v.chained = sha256.Sum256(s.value), true
		if s.seq == v.rep.Last {
			v.end(s.seq)
		}
		r, s.err = decode(s.seq, s.value)
	} else {
		v.chained = false
	}
	if s.err != nil {
		v.unreadable(s)
		return
	}
	v.rep.Records++
	k, _ := parseMachine(r.Machine)
	v.listed += v.sum(k, r.Seq)
	if err := v.fold.record(r); err != nil {
		v.fault(r.Seq, r.Machine, "%v", err)
	}
	v.compare(k, r.Seq)
}

// compare holds a snapshot against what the records up to it add up to.
func (v *verification) compare(k machineKey, seq uint64) {
	id := machineID(k)
	s, ok := v.snapshots[id]
	if !ok || s.seq != seq {
		return
	}
	delete(v.snapshots, id)
	m := v.fold.machines[id]
	if was, err := decodeSnapshot(k, s.value); err == nil && m.Damaged && !was.Damaged {
		return // it was folded before the damage
	}
	if now, err := encodeSnapshot(m); err != nil || !bytes.Equal(now, s.value) {
		v.fault(seq, id, "the snapshot is not what its records add up to")
	}
}

func (v *verification) unreadable(s stored) {
	lost, err := v.j.lost(s)
	if err != nil {
		v.fault(s.seq, "", "index: %v", err)
	}
	for _, l := range lost {
		known := !errors.Is(l.Unreadable, errUnknownMachine)
		v.fold.lose(l.Seq, l.Machine, known)
		if k, _ := parseMachine(l.Machine); known {
			v.listed += v.sum(k, l.Seq)
			v.compare(k, l.Seq)
		}
		for id := range v.snapshots {
			if k, ok := parseMachine(id); ok && !known {
				v.compare(k, l.Seq)
			}
		}
		if errors.Is(l.Unreadable, errLost) {
			v.rep.Lost++
		} else {
			v.fault(l.Seq, l.Machine, "%v", l.Unreadable)
		}
	}
}

func (v *verification) sum(k machineKey, seq uint64) uint64 {
	return maphash.Bytes(v.seed, keyIndex(k, seq))
}

// readIndex holds m/ against the records.
func (v *verification) readIndex(ctx context.Context) error {
	err := v.j.each([]byte("m/"), func(k, _ []byte) error {
		if m, seq, ok := indexOf(k); !ok {
			v.fault(0, "", "an index entry has the key %x", k)
		} else if seq <= v.rep.Last {
			v.indexed += v.sum(m, seq)
		}
		return ctx.Err()
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		v.fault(0, "", "index: %v", err)
	} else if v.listed != v.indexed {
		v.fault(0, "", "the index m/ does not list the records that there are")
	}
	return nil
}

// end holds x/last against the last record, unless an append overtook.
func (v *verification) end(seq uint64) {
	val, err := v.j.get(keyLast)
	if err == nil {
		var e end
		if e, err = decodeEnd(val); err == nil && e.seq == seq && e.hash != v.before {
			err = errors.New("x/last has another hash of it")
		}
	}
	if err != nil {
		v.fault(seq, "", "the last record: %v", err)
	}
}
