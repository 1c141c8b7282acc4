package image

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// stage is where a pull of one reference makes its image. It is locked as long
// as the pull lives; what an earlier one left in it is removed.
type stage struct {
	dir  string
	lock *fileLock
}

// output is what an image is written to.
type output interface {
	io.WriterAt
	Sync() error
}

const lockSuffix = ".lock"

// stage waits for its lock; held is called once if it has to.
func (s *Store) stage(ctx context.Context, key string, held func()) (*stage, error) {
	dir := filepath.Join(s.stageDir(), key)
	l, err := lock(ctx, dir+lockSuffix, unix.LOCK_EX, held)
	if err != nil {
		return nil, err
	}
	st := &stage{dir, l}
	if err := errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o700)); err != nil {
		st.close()
		return nil, err
	}
	return st, nil
}

// close removes all that is left in it.
func (st *stage) close() {
	_ = os.RemoveAll(st.dir) // swept later where this fails
	st.lock.remove()
}

func (st *stage) file(name string) string { return filepath.Join(st.dir, name) }

// sweepStages removes what killed pulls left, but for the stage that is own.
func (s *Store) sweepStages(own string) error {
	files, err := os.ReadDir(s.stageDir())
	if err != nil {
		return err
	}
	var bad error
	for _, f := range files {
		key := strings.TrimSuffix(f.Name(), lockSuffix)
		if key == own || !f.IsDir() && key == f.Name() {
			continue
		}
		path := filepath.Join(s.stageDir(), key)
		l, err := tryLock(path+lockSuffix, unix.LOCK_EX)
		if err != nil {
			if !errors.Is(err, errHeld) {
				bad = errors.Join(bad, err)
			}
			continue
		}
		bad = errors.Join(bad, os.RemoveAll(path))
		l.remove()
	}
	return bad
}

// digestOf reads a file from its beginning.
func digestOf(ctx context.Context, f *os.File, seen func(int64)) (string, error) {
	h := sha256.New()
	r := &metered{ctx: ctx, r: io.NewSectionReader(f, 0, 1<<62), seen: seen}
	if _, err := io.CopyBuffer(h, r, make([]byte, 1<<20)); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s%x", prefix, h.Sum(nil)), nil
}

// commit makes a staged file the image that a manifest speaks of, under a name.
// One that is there already stays as it is, but for its name.
func (s *Store) commit(ctx context.Context, staged, name string, m Manifest) (Image, error) {
	l, err := lock(ctx, s.lockFile(), unix.LOCK_EX, nil)
	if err != nil {
		return Image{}, err
	}
	defer l.release()
	names, err := s.names()
	if err != nil {
		return Image{}, err
	}
	if old, err := s.manifest(m.Digest); err == nil {
		m.Created = old.Created
	} else if err := os.Rename(staged, s.erofs(m.Digest)); err != nil {
		return Image{}, err
	}
	if err := s.writeJSON(s.json(m.Digest), m); err != nil {
		return Image{}, err
	}
	names[name] = m.Digest
	if err := s.writeJSON(s.namesFile(), names); err != nil {
		return Image{}, err
	}
	return s.image(m, names), nil
}

// tidy is done at the start of a pull.
func (s *Store) tidy(ctx context.Context, own string) error {
	l, err := lock(ctx, s.lockFile(), unix.LOCK_EX, nil)
	if err != nil {
		return err
	}
	defer l.release()
	return errors.Join(s.sweep(), s.sweepStages(own))
}

// current is the image that a name stands for, where it is from that origin.
func (s *Store) current(name string, o Origin) (Image, bool) {
	names, err := s.names()
	if err != nil || names[name] == "" || o.Digest == "" {
		return Image{}, false
	}
	m, err := s.manifest(names[name])
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Image{}, false // damaged: made anew
	}
	same := m.Origin.Kind == o.Kind && m.Origin.Digest == o.Digest && m.Origin.Architecture == o.Architecture
	return s.image(m, names), err == nil && same
}
