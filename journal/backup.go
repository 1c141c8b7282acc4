package journal

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// ErrNotEmpty says that something lies where a backup should go.
var ErrNotEmpty = errors.New("journal: the directory is not empty")

// Backed is what a backup holds.
type Backed struct {
	Last    uint64 // its last record
	Records uint64 // that were read to verify it
	Bytes   uint64 // that it takes
}

// Backup copies the journal into dir, which must be empty or not there, while
// appends go on, and verifies the copy. A copy that fails is removed. What is in
// it was durable before Backup returned; it shares no file with the journal.
func (j *Journal) Backup(ctx context.Context, dir string) (b Backed, err error) {
	leave, err := j.enter()
	if err != nil {
		return b, err
	}
	defer leave()
	made, err := j.prepareBackup(dir)
	if err != nil {
		return b, fmt.Errorf("back up into %s: %w", dir, err)
	}
	if err = j.copyTo(dir); err == nil {
		b, err = j.verifyCopy(ctx, dir)
	}
	if err == nil {
		err = j.settled(ctx, b.Last) // Pebble may have copied what is not synced yet
	}
	if err != nil {
		err = errors.Join(err, j.clear(dir, made))
		return Backed{}, fmt.Errorf("back up into %s: %w", dir, err)
	}
	return b, nil
}

// prepareBackup makes the directory, where it is not there.
func (j *Journal) prepareBackup(dir string) (made bool, err error) {
	fsys := j.o.FS
	if inside, err := filepath.Rel(j.dir, dir); err == nil && inside != ".." && !strings.HasPrefix(inside, "../") {
		return false, fmt.Errorf("%w: it is the journal's own", ErrNotEmpty)
	}
	names, err := fsys.List(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := fsys.Stat(fsys.PathDir(dir)); err != nil {
			return false, err
		}
		made = true
	case err != nil:
		return false, err
	case len(names) > 0:
		return false, fmt.Errorf("%w: %s is in it", ErrNotEmpty, names[0])
	}
	need, err := j.diskBytes()
	if err != nil {
		return false, err
	}
	if free, err := j.o.FreeSpace(fsys.PathDir(dir)); err == nil && free < need+j.o.Floor {
		return false, fmt.Errorf("%d MiB are needed, and %d MiB kept free, but there are %d MiB", need>>20, j.o.Floor>>20, free>>20)
	}
	if err := fsys.MkdirAll(dir, 0o700); err != nil {
		return false, err
	}
	return made, syncDir(fsys, fsys.PathDir(dir)) // a crash must not take it away
}

// copyTo copies database and head. The head is taken first: it may lag behind
// the records, and must never lead.
func (j *Journal) copyTo(dir string) error {
	end := j.durable.Load()
	var sum hash
	if end > 0 {
		v, err := j.get(keyRecord(end))
		if err != nil {
			return fmt.Errorf("read the last record: %w", err)
		}
		sum = sha256.Sum256(v)
	}
	to := j.o.FS.PathJoin(dir, "db")
	if j.readOnly { // nobody writes, and Pebble makes no checkpoint then
		if _, err := vfs.Clone(j.o.FS, j.o.FS, j.dbDir(), to, vfs.CloneSync); err != nil {
			return fmt.Errorf("copy: %w", err)
		}
	} else if err := j.db.Checkpoint(to, pebble.WithFlushedWAL()); err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	return createHead(j.o.FS, dir, end, sum)
}

// verifyCopy opens a copy as a reader does, and reads all of it.
func (j *Journal) verifyCopy(ctx context.Context, dir string) (b Backed, err error) {
	o := j.o
	o.Ballast = -1
	c, err := OpenReadOnly(dir, o)
	if err != nil {
		return b, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	rep, err := c.Verify(ctx)
	if err != nil {
		return b, err
	}
	if n := len(rep.Faults); n > 0 {
		return b, fmt.Errorf("the copy has %d faults, the first at record %d: %s", n, rep.Faults[0].Seq, rep.Faults[0].What)
	}
	b.Last, b.Records = rep.Last, rep.Records
	b.Bytes, err = c.diskBytes()
	return b, err
}

// settled waits until a record of a copy is durable here as well.
func (j *Journal) settled(ctx context.Context, seq uint64) error {
	if j.readOnly {
		return nil
	}
	return j.await(ctx, seq)
}

// clear removes what a failed backup made.
func (j *Journal) clear(dir string, all bool) error {
	if all {
		return j.o.FS.RemoveAll(dir)
	}
	names, err := j.o.FS.List(dir)
	for _, n := range names {
		err = errors.Join(err, j.o.FS.RemoveAll(j.o.FS.PathJoin(dir, n)))
	}
	return err
}

// diskBytes is what the database takes on the disk.
func (j *Journal) diskBytes() (n uint64, err error) {
	names, err := j.o.FS.List(j.dbDir())
	for _, name := range names {
		if st, err := j.o.FS.Stat(j.o.FS.PathJoin(j.dbDir(), name)); err == nil { // else it has just gone
			n += uint64(st.Size()) //nolint:gosec // a size
		}
	}
	return n, err
}
