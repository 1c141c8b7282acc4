package journal

import (
	"errors"
	"fmt"
	"sort"

	"github.com/arcboxlabs/arcbox-engine/fsm"
	"github.com/cockroachdb/pebble/v2"
)

// source is what a journal is read from: its database as it is, or as it was at
// one moment.
type source struct {
	reader pebble.Reader
	odd    func(key []byte) // nil, or told of keys among the records that are none of theirs
}

// each calls f with every key under a prefix.
func (src source) each(prefix []byte, f func(k, v []byte) error) error {
	it, err := src.reader.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: after(prefix)})
	if err != nil {
		return err
	}
	for it.First(); it.Valid(); it.Next() {
		if err := f(it.Key(), it.Value()); err != nil {
			return errors.Join(err, it.Close())
		}
	}
	return it.Close()
}

// get copies a value out.
func (src source) get(key []byte) ([]byte, error) {
	v, closer, err := src.reader.Get(key)
	if err != nil {
		return nil, err
	}
	v = append([]byte(nil), v...)
	return v, closer.Close()
}

func (src source) lastRecord() (uint64, error) {
	it, err := src.reader.NewIter(&pebble.IterOptions{LowerBound: []byte("e/"), UpperBound: []byte("e0")})
	if err != nil {
		return 0, err
	}
	var seq uint64
	for ok := it.Last(); ok && seq == 0; ok = it.Prev() {
		_, seq, _ = keyOf(it.Key()) // 0 where it is no record's
	}
	return seq, it.Close()
}

func (src source) loadSnapshots(f *fold, last uint64) error {
	return src.each([]byte("s/"), func(k, v []byte) error {
		if len(k) != snapshotKeySize {
			return fmt.Errorf("a snapshot key of %d bytes", len(k))
		}
		m, err := decodeSnapshot(machineKey(k[2:]), v)
		if err == nil && m.Seq > last {
			err = fmt.Errorf("it is of record %d, the last one is %d", m.Seq, last)
		}
		if err != nil {
			return fmt.Errorf("snapshot of %s: %w", machineID(machineKey(k[2:])), err)
		}
		f.machines[m.ID] = &m
		return nil
	})
}

// foldRange folds the records from from to to, and tells of each that could
// not be read or that Table 1 forbids.
func (src source) foldRange(f *fold, from, to uint64, fault func(seq uint64, id string, err error)) error {
	return src.scan(from, to, func(s stored) error {
		if s.err == nil {
			var r fsm.Record
			if r, s.err = decode(s.seq, s.value); s.err == nil {
				if err := f.record(r); err != nil {
					fault(r.Seq, r.Machine, err)
				}
				return nil
			}
		}
		lost, err := src.lost(s)
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
func (src source) scan(from, to uint64, f func(stored) error) error {
	for from <= to && from > 0 {
		next, err := src.scanUntilFault(from, to, f)
		if err != nil || next > to || next == 0 {
			return err
		}
		// The iterator met a block that it can't read; behind it may be others.
		v, err := src.get(keyRecord(next))
		if err := f(stored{seq: next, upto: next, value: v, err: err}); err != nil {
			return err
		}
		from = next + 1
	}
	return nil
}

// scanUntilFault returns the first record that it did not come to.
func (src source) scanUntilFault(from, to uint64, f func(stored) error) (next uint64, err error) {
	it, err := src.reader.NewIter(&pebble.IterOptions{LowerBound: keyRecord(from), UpperBound: append(keyRecord(to), 0)})
	if err != nil {
		return from, fmt.Errorf("read records: %w", err)
	}
	next = from
	for it.First(); it.Valid(); it.Next() {
		_, seq, kind := keyOf(it.Key())
		if kind != recordKey {
			if src.odd != nil {
				src.odd(it.Key())
			}
			continue
		}
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
func (src source) lost(s stored) ([]Entry, error) {
	var es []Entry
	known := map[uint64]bool{}
	err := src.each([]byte("m/"), func(k, _ []byte) error {
		if m, seq, kind := keyOf(k); kind == indexKey && seq >= s.seq && seq <= s.upto {
			es = append(es, Entry{Record: fsm.Record{Seq: seq, Machine: machineID(m)}, Unreadable: s.err})
			known[seq] = true
		}
		return nil
	})
	sort.Slice(es, func(a, b int) bool { return es[a].Seq < es[b].Seq })
	if n := s.upto - s.seq + 1; uint64(len(known)) < n {
		err := fmt.Errorf("records %d to %d: %w, and %w", s.seq, s.upto, s.err, errUnknownMachine)
		es = append(es, Entry{Record: fsm.Record{Seq: s.upto}, Unreadable: err})
	}
	return es, err
}
