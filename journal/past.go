package journal

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/arcboxlabs/arcbox-engine/fsm"
)

// Past is what was at one record.
type Past struct {
	Seq      uint64
	Time     time.Time     // the record's; zero where it can't be read, or there was none yet
	Machines []fsm.Machine // all but the removed ones, sorted by id
}

// SeqAt is the record that stands for a time: of all that are dated not later,
// the one with the latest date, and of several such the one furthest behind. 0
// where there is none. The clock may have been set: the order of the records
// is the truth, and a time that came twice means the record nearest to it.
func (j *Journal) SeqAt(t time.Time) (uint64, error) {
	leave, err := j.enter()
	if err != nil {
		return 0, err
	}
	defer leave()
	at, best, end := t.UnixNano(), dates{}, j.durable.Load()
	consider := func(d dates) {
		if d.seq != 0 && d.last <= at && (best.seq == 0 || d.last >= best.last) {
			best.last, best.seq = d.last, d.seq
		}
	}
	look := func(from, to uint64) error {
		return j.scan(from, to, func(s stored) error {
			if t, ok := dateOf(s.value); ok && s.err == nil {
				consider(dates{t, t, s.seq})
			}
			return nil
		})
	}
	next := uint64(1)                                   // the first record that was not considered
	err = j.checkpoints(end, func(c checkpoint) error { // of what can't be read of them, the records are looked at
		from := next
		next = c.seq + 1
		switch {
		case c.from != from:
			return look(from, c.seq)
		case c.dates.last <= at:
			consider(c.dates)
		case c.dates.first <= at:
			return look(from, c.seq)
		}
		return nil
	})
	if err == nil {
		err = look(next, end)
	}
	if err != nil {
		return 0, fmt.Errorf("look for the record at %s: %w", t.UTC().Format(time.RFC3339), err)
	}
	return best.seq, nil
}

// At is what was behind a record. A record that is not there yet is the last
// one.
func (j *Journal) At(seq uint64) (Past, error) {
	leave, err := j.enter()
	if err != nil {
		return Past{}, err
	}
	defer leave()
	p := Past{Seq: min(seq, j.durable.Load())}
	if v, err := j.get(keyRecord(p.Seq)); err == nil && len(v) >= headerSize {
		p.Time = timeOf(v)
	}
	f, from := j.foldAt(p.Seq)
	if err := j.foldRange(f, from, p.Seq, func(uint64, string, error) {}); err != nil {
		return p, fmt.Errorf("fold the records up to %d: %w", p.Seq, err)
	}
	for _, m := range f.machines {
		if m.State != fsm.Removed {
			p.Machines = append(p.Machines, *m)
		}
	}
	slices.SortFunc(p.Machines, func(a, b fsm.Machine) int { return strings.Compare(a.ID, b.ID) })
	return p, nil
}

// foldAt reads the last checkpoint up to a record that can be read, and tells
// from which record on it is to be folded further.
func (src source) foldAt(seq uint64) (f *fold, from uint64) {
	for {
		c := src.lastCheckpoint(seq)
		if c.seq == 0 {
			return newFold(), 1
		}
		f, n := newFold(), uint32(0)
		err := src.each(keyCheckpoint(c.seq), func(k, v []byte) error {
			id, _, kind := keyOf(k)
			if kind != keptKey {
				return nil
			}
			m, err := decodeSnapshot(id, v)
			f.machines[m.ID] = &m
			n++
			return err
		})
		if err == nil && n == c.machines {
			return f, c.seq + 1
		}
		seq = c.seq - 1 // Verify tells
	}
}

// MachineAt is one machine behind a record, also where it had been removed by
// then; false where it had not been created yet.
func (j *Journal) MachineAt(id string, seq uint64) (fsm.Machine, bool, error) {
	k, valid := parseMachine(id)
	if !valid || id == "" {
		return fsm.Machine{}, false, nil
	}
	leave, err := j.enter()
	if err != nil {
		return fsm.Machine{}, false, err
	}
	defer leave()
	seq = min(seq, j.durable.Load())
	f, behind := newFold(), uint64(0)
	if c := j.lastCheckpoint(seq); c.seq > 0 { // else it came later, or had gone
		if v, err := j.get(keyKept(c.seq, k)); err == nil {
			if m, err := decodeSnapshot(k, v); err == nil {
				f.machines[id], behind = &m, c.seq
			}
		}
	}
	seqs, err := j.index(k, behind, seq)
	if err != nil {
		return fsm.Machine{}, false, fmt.Errorf("fold machine %s up to record %d: %w", id, seq, err)
	}
	j.foldEntries(f, id, seqs)
	_, ok := f.machines[id]
	return f.machine(id), ok, nil
}

// foldEntries folds records of one machine.
func (j *Journal) foldEntries(f *fold, id string, seqs []uint64) {
	for _, seq := range seqs {
		if e := j.entry(seq, id); e.Unreadable != nil {
			f.lose(seq, id, true)
		} else if err := f.record(e.Record); err != nil {
			f.lose(seq, id, true)
		}
	}
}
