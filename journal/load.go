package journal

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"

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
	j.w.mark = j.lastCheckpoint(e.seq).seq
	for id, m := range f.machines {
		if m.State != fsm.Removed {
			j.machines[id], j.w.now[id] = m, m
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

// raiseFormat keeps an older engine from reading what it would not understand.
func (j *Journal) raiseFormat() error {
	v, err := j.get(keyFormat)
	if err == nil && v[0] < format {
		err = j.db.Set(keyFormat, []byte{format}, pebble.Sync)
	}
	if err != nil {
		return fmt.Errorf("raise the journal's format: %w", err)
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
		j.o.Log.Warn("journal: folding all records, because a snapshot can't be read", "err", inLine(err))
		f, e.tail = newFold(), 1
	}
	f.changed = j.w.stale.add
	err := j.foldRange(f, e.tail, e.seq, func(seq uint64, id string, err error) {
		j.o.Log.Error("journal: damaged record", "seq", seq, "machine", id, "err", inLine(err))
	})
	return f, err
}
