package journal

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// slowSync is how long a sync may take before the disk counts as slow.
const slowSync = 5 * time.Second

// DiskSlow tells whether a write or a sync is under way for more than five seconds.
func (j *Journal) DiskSlow() bool {
	for _, since := range []*time.Time{j.applying.Load(), j.syncing.Load()} {
		if since != nil && j.o.Now().Sub(*since) > slowSync {
			return true
		}
	}
	return false
}

// DiskLow tells whether less than Options.Floor is free: time to refuse what
// makes the disk fuller. Append itself refuses nothing for want of space.
func (j *Journal) DiskLow() bool {
	free, err := j.o.FreeSpace(j.dir)
	return err == nil && free < j.o.Floor
}

func (j *Journal) ballastPath() string { return j.o.FS.PathJoin(j.dir, "ballast") }

// GiveUpBallast frees the ballast, so that stops, kills and observed facts
// still fit. Append does it by itself when less is free than the ballast is
// long, and lays the ballast again when the disk has room above the floor.
func (j *Journal) GiveUpBallast() error {
	leave, err := j.enter()
	if err != nil {
		return err
	}
	defer leave()
	if j.readOnly {
		return ErrReadOnly
	}
	return j.dropBallast()
}

func (j *Journal) dropBallast() error {
	j.ballast.Store(false)
	if err := j.o.FS.Remove(j.ballastPath()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("give up the ballast: %w", err)
	}
	return nil
}

// freeAtOpen gives the ballast up where opening itself could fail without.
func (j *Journal) freeAtOpen() {
	st, err := j.o.FS.Stat(j.ballastPath())
	j.ballast.Store(err == nil && st.Size() == j.o.Ballast)
	if err == nil && st.Size() != j.o.Ballast {
		err = j.dropBallast() // half laid, or of another size
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		j.o.Log.Warn("journal: ballast", "err", err)
	}
	if free, err := j.o.FreeSpace(j.dir); err == nil && j.ballast.Load() && free < uint64(j.o.Ballast) {
		if err := j.dropBallast(); err != nil {
			j.o.Log.Warn("journal: ballast", "err", err)
		}
	}
}

// keepBallast gives the ballast up, or lays it, as the space left asks for.
func (j *Journal) keepBallast() {
	if j.o.Ballast < 0 {
		return
	}
	free, err := j.o.FreeSpace(j.dir)
	if err != nil {
		return // no way to know; DiskLow is false as well
	}
	size, have := uint64(j.o.Ballast), j.ballast.Load()
	switch {
	case have && free < size:
		j.o.Log.Warn("journal: the disk is full, giving up the ballast", "free", free)
		err = j.dropBallast()
	case !have && free > j.o.Floor+size:
		err = j.layBallast()
	}
	if err != nil {
		j.o.Log.Warn("journal: ballast", "err", err)
	}
}

// layBallast writes bytes that no filesystem can compress away.
func (j *Journal) layBallast() (err error) {
	f, err := j.o.FS.Create(j.ballastPath(), vfs.WriteCategoryUnspecified)
	if err != nil {
		return fmt.Errorf("lay the ballast: %w", err)
	}
	var noise hash
	for left := int(j.o.Ballast); left > 0 && err == nil; {
		buf := make([]byte, 0, 64<<10)
		for len(buf) < cap(buf) {
			noise = sha256.Sum256(noise[:])
			buf = append(buf, noise[:]...)
		}
		n := min(left, len(buf))
		_, err = f.Write(buf[:n])
		left -= n
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(fmt.Errorf("lay the ballast: %w", err), j.dropBallast())
	}
	j.ballast.Store(true)
	return nil
}
