package journal

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"sort"

	"github.com/arcboxlabs/arcbox-engine/fsm"
	"github.com/cockroachdb/pebble/v2"
)

// load checks that the journal ends where it should, and folds it.
func (j *Journal) load() error {
	if err := j.checkFormat(); err != nil {
		return err
	}
	e, err := j.loadEnd()
	if err != nil {
		return err
	}
	if err := j.checkHead(e); err != nil {
		return err
	}
	j.w.seq, j.w.hash = e.seq, e.hash
	j.durable.Store(e.seq)
	f, err := j.loadFold(e)
	if err != nil {
		return err
	}
	for id, m := range f.machines {
		if m.State != fsm.Removed {
			j.machines[id], j.w.now[id] = &m, &m
		} else if !j.w.stale.in[id] {
			j.w.stale.bury(id, e.seq)
		}
	}
	return nil
}

func (j *Journal) checkFormat() error {
	v, err := j.get(keyFormat)
	switch {
	case err != nil:
		return &DamagedError{File: j.dbDir(), Err: fmt.Errorf("read x/format: %w", err)}
	case len(v) != 1 || v[0] == 0:
		return &DamagedError{File: j.dbDir(), Err: fmt.Errorf("x/format is %x", v)}
	case v[0] > format:
		return fmt.Errorf("%w: %s has format %d, this one knows up to %d", ErrNewerFormat, j.dir, v[0], format)
	}
	return nil
}

// loadEnd reads where the journal ends, and holds it against the last record.
func (j *Journal) loadEnd() (end, error) {
	last, err := j.lastRecord()
	if err != nil {
		return end{}, &DamagedError{File: j.dbDir(), Err: fmt.Errorf("look for the last record: %w", err)}
	}
	e := end{tail: 1}
	v, err := j.get(keyLast)
	switch {
	case err == nil:
		e, err = decodeEnd(v)
	case errors.Is(err, pebble.ErrNotFound):
		err = nil
	}
	if err == nil && e.seq != last {
		err = errors.New("x/last and the last record differ")
	}
	if err != nil {
		return end{}, &DamagedError{File: j.dbDir(), Head: e.seq, Last: last, Err: err}
	}
	if e.tail == 0 || e.tail > e.seq+1 {
		e.tail = 1
	}
	return e, nil
}

func (j *Journal) lastRecord() (uint64, error) {
	it, err := j.db.NewIter(&pebble.IterOptions{LowerBound: []byte("e/"), UpperBound: []byte("e0")})
	if err != nil {
		return 0, err
	}
	var seq uint64
	if it.Last() {
		seq = seqOf(it.Key())
	}
	return seq, it.Close()
}

// checkHead holds the head file against the end of the journal.
func (j *Journal) checkHead(e end) error {
	seq, sum, slot, ok, err := readHead(j.o.FS, j.dir)
	d := &DamagedError{File: headPath(j.o.FS, j.dir), Head: seq, Last: e.seq}
	if errors.Is(err, fs.ErrNotExist) && e.seq == 0 {
		err = nil // a crash came before it was made
	}
	switch {
	case err != nil:
		d.Err = err
		return d
	case !ok && e.seq > 0:
		d.Err = errors.New("neither of its slots can be read")
		return d
	case !ok && !j.readOnly:
		if err := createHead(j.o.FS, j.dir, 0, hash{}); err != nil {
			return err
		}
	case seq > e.seq:
		d.File, d.Err = j.dbDir(), errors.New("the journal ends before its head")
		return d
	case seq > 0 && sum != j.hashOf(seq, e):
		d.File, d.Err = j.dbDir(), errors.New("the record that its head tells of is another one")
		return d
	}
	if j.readOnly {
		return nil
	}
	j.head, err = openHead(j.o.FS, j.dir, slot)
	return err
}

// hashOf is the hash of a stored record, or zero where it can't be read.
func (j *Journal) hashOf(seq uint64, e end) hash {
	if seq == e.seq {
		return e.hash
	}
	v, err := j.get(keyRecord(seq))
	if err != nil {
		return hash{}
	}
	return sha256.Sum256(v)
}

// loadFold reads the snapshots and the tail. Snapshots are a cache: where one
// can't be read, all is folded from the first record.
func (j *Journal) loadFold(e end) (*fold, error) {
	f := newFold()
	if err := j.loadSnapshots(f, e.seq); err != nil {
		j.o.Log.Warn("journal: folding all records, because a snapshot can't be read", "err", err)
		f, e.tail = newFold(), 1
	}
	f.changed = j.w.stale.add
	err := j.foldRange(f, e.tail, e.seq, func(seq uint64, id string, err error) {
		j.o.Log.Error("journal: damaged record", "seq", seq, "machine", id, "err", err)
	})
	return f, err
}

func (j *Journal) loadSnapshots(f *fold, last uint64) error {
	return j.each([]byte("s/"), func(k, v []byte) error {
		if len(k) != 2+16 {
			return fmt.Errorf("a snapshot key of %d bytes", len(k))
		}
		m, err := decodeSnapshot(machineKey(k[2:]), v)
		if err == nil && m.Seq > last {
			err = fmt.Errorf("it is of record %d, the last one is %d", m.Seq, last)
		}
		if err != nil {
			return fmt.Errorf("snapshot of %s: %w", machineID(machineKey(k[2:])), err)
		}
		f.machines[m.ID] = m
		return nil
	})
}

// foldRange folds the records from from to to, and tells of each that could
// not be read or that Table 1 forbids.
func (j *Journal) foldRange(f *fold, from, to uint64, fault func(seq uint64, id string, err error)) error {
	return j.scan(from, to, func(s stored) error {
		if s.err == nil {
			var r fsm.Record
			if r, s.err = decode(s.seq, s.value); s.err == nil {
				if err := f.record(r); err != nil {
					fault(r.Seq, r.Machine, err)
				}
				return nil
			}
		}
		lost, err := j.lost(s)
		for _, l := range lost {
			f.lose(l.Seq, l.Machine, !errors.Is(l.Unreadable, errUnknownMachine))
			if !errors.Is(l.Unreadable, errLost) {
				fault(l.Seq, l.Machine, l.Unreadable)
			}
		}
		return err
	})
}

// stored is one value of e/, or a stretch of them that is not there or can't
// be read.
type stored struct {
	seq, upto uint64 // equal, but for a stretch
	value     []byte // valid until the next one
	err       error
}

var errMissing = errors.New("missing")

// scan calls f with all there is from from to to, in order and without a gap.
func (j *Journal) scan(from, to uint64, f func(stored) error) error {
	for from <= to && from > 0 {
		next, err := j.scanUntilFault(from, to, f)
		if err != nil || next > to || next == 0 {
			return err
		}
		// The iterator met a block that it can't read; behind it may be others.
		v, err := j.get(keyRecord(next))
		if err := f(stored{seq: next, upto: next, value: v, err: err}); err != nil {
			return err
		}
		from = next + 1
	}
	return nil
}

// scanUntilFault returns the first record that it did not come to.
func (j *Journal) scanUntilFault(from, to uint64, f func(stored) error) (next uint64, err error) {
	it, err := j.db.NewIter(&pebble.IterOptions{LowerBound: keyRecord(from), UpperBound: append(keyRecord(to), 0)})
	if err != nil {
		return from, fmt.Errorf("read records: %w", err)
	}
	next = from
	for it.First(); it.Valid(); it.Next() {
		seq := seqOf(it.Key())
		if seq > next {
			if err := f(stored{seq: next, upto: seq - 1, err: errMissing}); err != nil {
				return next, errors.Join(err, it.Close())
			}
		}
		v, verr := it.ValueAndErr()
		if err := f(stored{seq: seq, upto: seq, value: v, err: verr}); err != nil {
			return next, errors.Join(err, it.Close())
		}
		next = seq + 1
	}
	if it.Close() != nil {
		return next, nil
	}
	if next <= to {
		err = f(stored{seq: next, upto: to, err: errMissing})
	}
	return to + 1, err
}

var errUnknownMachine = errors.New("it is not known whose it was")

// lost tells whose records a fault concerns, from the index.
func (j *Journal) lost(s stored) ([]Entry, error) {
	var es []Entry
	err := j.each([]byte("m/"), func(k, _ []byte) error {
		if m, seq, ok := indexOf(k); ok && seq >= s.seq && seq <= s.upto {
			es = append(es, Entry{fsm.Record{Seq: seq, Machine: machineID(m)}, s.err})
		}
		return nil
	})
	sort.Slice(es, func(a, b int) bool { return es[a].Seq < es[b].Seq })
	if n := s.upto - s.seq + 1; uint64(len(es)) < n {
		err := fmt.Errorf("records %d to %d: %w, and %w", s.seq, s.upto, s.err, errUnknownMachine)
		es = append(es, Entry{fsm.Record{Seq: s.upto}, err})
	}
	return es, err
}
