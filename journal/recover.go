package journal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Salvage is what Recover saved and what it could not.
type Salvage struct {
	Last    uint64   // where the new journal ends
	Records uint64   // saved
	Lost    []Fault  // records that are lost, oldest first
	Damage  []string // what else was found: files that can't be read, parts of the index
}

// maxStones bounds what a false head file or index can make Recover write.
const maxStones = 1 << 20

// Recover saves what can be read of the journal in src into a new journal in
// dst, which must not exist. Nothing in src is changed. Records keep their
// sequence numbers; where one is lost stands a gravestone, and its machine is
// marked as damaged, as all are where it is not known whose it was.
func Recover(src, dst string, o Options) (Salvage, error) {
	o = o.withDefaults()
	if _, err := o.FS.Stat(dst); !errors.Is(err, fs.ErrNotExist) {
		return Salvage{}, fmt.Errorf("recover: %s is there already: %w", dst, errors.Join(fs.ErrExist, err))
	}
	if _, err := o.FS.Stat(o.FS.PathJoin(src, "db")); err != nil {
		return Salvage{}, fmt.Errorf("recover: there is no journal in %s: %w", src, err)
	}
	l, err := lock(o.FS, src)
	if err != nil {
		return Salvage{}, fmt.Errorf("recover: %w", err)
	}
	s, err := salvage(src, dst, o)
	if err != nil {
		err = errors.Join(err, o.FS.RemoveAll(dst)) // half a journal is worth nothing
	}
	if err := errors.Join(err, l.Close()); err != nil {
		return s, fmt.Errorf("recover %s into %s: %w", src, dst, err)
	}
	return s, nil
}

func salvage(src, dst string, o Options) (s Salvage, err error) {
	work := o.FS.PathJoin(dst, "salvage")
	from, notes, err := openCopy(src, work, o)
	if err != nil {
		return Salvage{}, err
	}
	defer func() { err = errors.Join(err, from.release(), o.FS.RemoveAll(work)) }()
	if err := from.checkFormat(); errors.Is(err, ErrNewerFormat) {
		return Salvage{}, err
	}
	to, err := Open(dst, o)
	if err != nil {
		return Salvage{}, err
	}
	b := newBulk(to)
	if err = b.copy(from, src); err == nil {
		err = b.finish()
	}
	b.salvage.Damage = append(notes, b.salvage.Damage...)
	return b.salvage, errors.Join(err, to.Close())
}

// openCopy opens a copy of a damaged journal. Where Pebble can't, it is made
// anew from what its tables and logs hold, each for itself.
func openCopy(src, work string, o Options) (*Journal, []string, error) {
	j := newJournal(work, o)
	if err := o.FS.MkdirAll(work, 0o700); err != nil {
		return nil, nil, fmt.Errorf("copy: %w", err)
	}
	if _, err := vfs.Clone(o.FS, o.FS, o.FS.PathJoin(src, "db"), j.dbDir()); err != nil {
		return nil, nil, fmt.Errorf("copy: %w", err)
	}
	var notes []string
	damaged := new(DamagedError)
	if err := opens(j); errors.As(err, &damaged) {
		parts := j.dbDir()
		j.dir = o.FS.PathJoin(work, "raw")
		if err := o.FS.MkdirAll(j.dir, 0o700); err != nil {
			return nil, nil, fmt.Errorf("copy: %w", err)
		}
		notes, err = readRaw(parts, j.dbDir(), o)
		if err != nil {
			return nil, nil, err
		}
		notes = append([]string{inLine(damaged.Err)}, notes...)
	} else if err != nil {
		return nil, nil, err
	}
	return j, notes, j.openDB(false)
}

// opens tries a database without changing it.
func opens(j *Journal) error {
	if err := j.openDB(true); err != nil {
		return err
	}
	err := j.db.Close()
	j.db = nil
	return err
}

func readFile(fsys vfs.FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	v, err := io.ReadAll(f)
	return v, errors.Join(err, f.Close())
}

func writeFile(fsys vfs.FS, name string, v []byte) error {
	f, err := fsys.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(slices.Clone(v)) // a vfs.File may change what it is given
	return errors.Join(err, f.Close())
}

// furthest is the last record that anything in a journal tells of.
func (j *Journal) furthest(dir string) uint64 {
	last, _, _, _, _ := readHead(j.o.FS, dir) // 0 where it can't be read
	if seq, err := j.lastRecord(); err == nil {
		last = max(last, seq)
	}
	if v, err := j.get(keyLast); err == nil {
		if e, err := decodeEnd(v); err == nil {
			last = max(last, e.seq)
		}
	}
	return last
}
