package journal

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/arcboxlabs/arcbox-engine/fsm"
	"github.com/cockroachdb/pebble/v2"
)

// A checkpoint is the fold of all machines that there were at one record, so
// that the past can be looked at without folding from the first record on. It is
// a cache: where there is none, or half of one, an older one does, or none.
const (
	// DefaultCheckpoint is how many records lie between two checkpoints, unless
	// there are so many machines that they would outweigh the records.
	DefaultCheckpoint = 8192
	// checkpointShare is how many records come to one fold in a checkpoint.
	checkpointShare = 16

	versionCheckpoint = 1
	checkpointSize    = 1 + 4*8 + 4
)

// checkpoint is what the key h/<seq> says; the folds stand behind it, under
// h/<seq><machine>. It is written when they are.
type checkpoint struct {
	seq  uint64 // the last record in it
	from uint64 // the first record behind the checkpoint before
	// The times of the records from there on: the first, the last, and which
	// record has the last; of several the one furthest behind. The clock may have
	// been set, so that this need not be the first and the last record.
	dates    dates
	machines uint32
}

func (c checkpoint) encode() []byte {
	v := binary.BigEndian.AppendUint64([]byte{versionCheckpoint}, c.from)
	for _, n := range []int64{c.dates.first, c.dates.last} {
		v = binary.BigEndian.AppendUint64(v, uint64(n)) //nolint:gosec // and back
	}
	v = binary.BigEndian.AppendUint64(v, c.dates.seq)
	return binary.BigEndian.AppendUint32(v, c.machines)
}

func decodeCheckpoint(seq uint64, v []byte) (checkpoint, error) {
	if len(v) != checkpointSize || v[0] != versionCheckpoint {
		return checkpoint{}, fmt.Errorf("checkpoint %d can't be read", seq)
	}
	n := func(i int) uint64 { return binary.BigEndian.Uint64(v[1+8*i:]) }
	c := checkpoint{
		seq: seq, from: n(0), machines: binary.BigEndian.Uint32(v[1+4*8:]),
		dates: dates{first: int64(n(1)), last: int64(n(2)), seq: n(3)}, //nolint:gosec // as encode
	}
	if c.from == 0 || c.from > seq {
		return checkpoint{}, fmt.Errorf("checkpoint %d begins at %d", seq, c.from)
	}
	return c, nil
}

// dates are the times of a stretch of records, in nanoseconds.
type dates struct {
	first, last int64
	seq         uint64 // the last record that has the last; 0 = there is none
}

func (d *dates) add(seq uint64, t int64) {
	if d.seq == 0 {
		*d = dates{t, t, seq}
		return
	}
	d.first = min(d.first, t)
	if t >= d.last {
		d.last, d.seq = t, seq
	}
}

// dateOf is the time in a record's value.
func dateOf(v []byte) (int64, bool) {
	if len(v) < headerSize {
		return 0, false
	}
	return int64(binary.BigEndian.Uint64(v[9:])), true //nolint:gosec // as seal
}

// dated finds the dates of a stretch. What can't be read has none.
func (src source) dated(from, to uint64) (d dates, err error) {
	err = src.scan(from, to, func(s stored) error {
		if t, ok := dateOf(s.value); ok && s.err == nil {
			d.add(s.seq, t)
		}
		return nil
	})
	return d, err
}

// taken is a checkpoint that is about to be written. The folds are the writer's
// own, which never change.
type taken struct {
	checkpoint
	folds []*fsm.Machine
}

// takeCheckpoint hands the fold over to be written, where one is due. It belongs
// to the writer.
func (j *Journal) takeCheckpoint() {
	due := j.o.Checkpoint
	if due == 0 {
		due = max(DefaultCheckpoint, checkpointShare*uint64(len(j.w.now)))
	}
	if j.w.seq-j.w.mark < due {
		return
	}
	t := &taken{checkpoint{seq: j.w.seq, from: j.w.mark + 1}, slices.Collect(maps.Values(j.w.now))}
	select {
	case j.marks <- t:
		j.w.mark = t.seq
	default: // the one before is being written still
	}
}

// keepCheckpoints writes checkpoints, beside the writer and behind its records:
// what a crash leaves of one is never ahead of them.
func (j *Journal) keepCheckpoints() {
	for t := range j.marks {
		if err := j.await(context.Background(), t.seq); err != nil {
			continue // by a disk error
		}
		d, err := j.dated(t.from, t.seq)
		if err != nil {
			j.o.Log.Warn("journal: checkpoint", "seq", t.seq, "err", inLine(err))
			continue
		}
		t.dates = d
		if err := j.writeCheckpoint(t); err != nil {
			j.o.fatal(fmt.Errorf("journal: checkpoint: %w", err))
		}
	}
}

// writeCheckpoint does not sync: the log keeps its order.
func (j *Journal) writeCheckpoint(t *taken) error {
	b := j.db.NewBatch()
	flush := func(size int) error {
		if b.Len() < size {
			return nil
		}
		err := errors.Join(j.db.Apply(b, pebble.NoSync), b.Close())
		b = j.db.NewBatch()
		return err
	}
	for _, m := range t.folds {
		k, _ := parseMachine(m.ID)
		v, err := encodeSnapshot(*m)
		if err == nil {
			err = errors.Join(b.Set(keyKept(t.seq, k), v, nil), flush(batchBytes/4))
		}
		if err != nil {
			return errors.Join(err, b.Close())
		}
	}
	t.machines = uint32(len(t.folds)) //nolint:gosec // as many as names
	err := errors.Join(b.Set(keyCheckpoint(t.seq), t.encode(), nil), flush(0))
	return errors.Join(err, b.Close())
}

// checkpoints calls f with every whole checkpoint up to a record, the oldest
// first.
func (src source) checkpoints(upto uint64, f func(checkpoint) error) error {
	it, err := src.reader.NewIter(&pebble.IterOptions{LowerBound: keyCheckpoint(0), UpperBound: keyCheckpoint(upto + 1)})
	if err != nil {
		return fmt.Errorf("look for checkpoints: %w", err)
	}
	for ok := it.First(); ok; {
		_, seq, kind := keyOf(it.Key())
		if kind == checkpointKey {
			if c, bad := decodeCheckpoint(seq, it.Value()); bad == nil { // else Verify tells
				err = f(c)
			}
			if err != nil {
				break
			}
		}
		if kind != checkpointKey && kind != keptKey {
			ok = it.Next()
			continue
		}
		ok = it.SeekGE(keyCheckpoint(seq + 1))
	}
	return errors.Join(err, it.Close())
}

// lastCheckpoint is the last whole one up to a record; seq 0 where there is
// none, or none can be read: that Verify tells.
func (src source) lastCheckpoint(upto uint64) (c checkpoint) {
	it, err := src.reader.NewIter(&pebble.IterOptions{LowerBound: keyCheckpoint(0), UpperBound: keyCheckpoint(upto + 1)})
	if err != nil {
		return c
	}
	for ok := it.Last(); ok; {
		_, seq, kind := keyOf(it.Key())
		if kind != checkpointKey && kind != keptKey {
			ok = it.Prev()
			continue
		}
		v, getErr := src.get(keyCheckpoint(seq))
		if getErr == nil {
			if c, getErr = decodeCheckpoint(seq, v); getErr == nil {
				break
			}
		}
		c, ok = checkpoint{}, it.SeekLT(keyCheckpoint(seq)) // half of one
	}
	if it.Close() != nil {
		return checkpoint{}
	}
	return c
}
