package journal

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/arcboxlabs/arcbox-engine/fsm"
	"github.com/cockroachdb/pebble/v2"
)

// bulk fills a new journal from records that have their places already. It is
// not durable, and the journal does not open, before finish.
type bulk struct {
	j       *Journal
	batch   *pebble.Batch
	fold    *fold
	now     time.Time // of the record before
	salvage Salvage
}

// newBulk takes a journal that was just made, and that no one else uses.
func newBulk(j *Journal) *bulk {
	b := &bulk{j: j, batch: j.db.NewBatch(), fold: newFold(), now: j.o.Now()}
	b.fold.changed = j.w.stale.add
	return b
}

// copy takes over all that a damaged journal still has. The head file lies in
// dir, beside the database that from is a copy of.
func (b *bulk) copy(from *Journal, dir string) error {
	last := from.furthest(dir)
	return from.scan(1, last, func(s stored) error {
		if s.err != nil {
			return b.lost(from, s)
		}
		r, err := decode(s.seq, s.value)
		if err != nil {
			s.err = err
			return b.lost(from, s)
		}
		b.salvage.Records++
		return b.record(r, bytes.Clone(s.value))
	})
}

// record adds a readable record.
func (b *bulk) record(r fsm.Record, value []byte) error {
	k, _ := parseMachine(r.Machine)
	b.seal(value, r.Seq, r.Time)
	_ = b.fold.record(r) // its machine is marked as damaged
	if err := putRecord(b.batch, r, k, value); err != nil {
		return err
	}
	return b.flush(1 << 20)
}

// lost adds gravestones.
func (b *bulk) lost(from *Journal, s stored) error {
	if n := s.upto - s.seq; n >= maxStones {
		return fmt.Errorf("records %d to %d are said to be lost: too many to be true", s.seq, s.upto)
	}
	entries, err := from.lost(s)
	if err != nil {
		b.note("a part of the index: " + inLine(err))
	}
	for seq := s.seq; seq <= s.upto; seq++ {
		f, known := Fault{Seq: seq, What: inLine(s.err)}, false
		if len(entries) > 0 && entries[0].Seq == seq && !errors.Is(entries[0].Unreadable, errUnknownMachine) {
			f.Machine, known = entries[0].Machine, true
			entries = entries[1:]
		}
		if err := b.stone(f, known, s); err != nil {
			return err
		}
	}
	return nil
}

// note says once what is damaged.
func (b *bulk) note(what string) {
	if !slices.Contains(b.salvage.Damage, what) {
		b.salvage.Damage = append(b.salvage.Damage, what)
	}
}

func (b *bulk) stone(f Fault, known bool, s stored) error {
	v := bytes.Clone(s.value)
	if !errors.Is(s.err, errLost) { // else it is a gravestone already
		var err error
		if v, err = encodeStone(f.What, s.value); err != nil {
			return err
		}
	}
	b.seal(v, f.Seq, b.now)
	b.fold.lose(f.Seq, f.Machine, known)
	b.salvage.Lost = append(b.salvage.Lost, f)
	err := b.batch.Set(keyRecord(f.Seq), v, nil)
	if k, _ := parseMachine(f.Machine); known {
		err = errors.Join(err, b.batch.Set(keyIndex(k, f.Seq), nil, nil))
	}
	if err != nil {
		return err
	}
	return b.flush(1 << 20)
}

func (b *bulk) seal(v []byte, seq uint64, t time.Time) {
	b.j.w.hash, b.j.w.seq, b.now = seal(v, seq, t, b.j.w.hash), seq, t
}

// flush writes the batch when it has grown to a size.
func (b *bulk) flush(size int) error {
	if b.batch.Len() < size {
		return nil
	}
	err := errors.Join(b.j.db.Apply(b.batch, pebble.NoSync), b.batch.Close())
	b.batch = b.j.db.NewBatch()
	return err
}

// finish makes all of it durable and gives the journal its fold.
func (b *bulk) finish() error {
	j := b.j
	for id, m := range b.fold.machines {
		if m.State != fsm.Removed {
			j.machines[id], j.w.now[id] = m, m
		}
	}
	j.durable.Store(j.w.seq)
	b.salvage.Last = j.w.seq
	if j.w.seq == 0 {
		return b.batch.Close()
	}
	// The snapshots follow at Close; until then all is tail.
	err := b.batch.Set(keyLast, end{j.w.seq, j.w.hash, 1}.encode(), nil)
	err = errors.Join(err, j.db.Apply(b.batch, pebble.Sync), b.batch.Close())
	if err != nil {
		return err
	}
	return j.head.write(j.w.seq, j.w.hash)
}
