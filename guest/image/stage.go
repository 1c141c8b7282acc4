package image

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/arcboxlabs/arcbox-engine/guest/files"
)

// Stage is where a pull of one reference makes its image. It is locked as long
// as the pull lives; what an earlier one left in it is removed.
type Stage struct {
	dir  string
	lock *files.Lock
}

const lockSuffix = ".lock"

// Stage waits for the stage of a key, hexadecimal digits that stand for what is
// pulled; held is called once if it has to. It sweeps what killed pulls left.
func (s *Store) Stage(ctx context.Context, key string, held func()) (*Stage, error) {
	if key == "" || len(key) > 64 || !isHex(key) {
		return nil, fmt.Errorf("images: the stage %q", key)
	}
	dir := filepath.Join(s.stageDir(), key)
	l, err := files.Take(ctx, dir+lockSuffix, unix.LOCK_EX, held)
	if err != nil {
		return nil, err
	}
	st := &Stage{dir, l}
	if err := errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o700), s.tidy(ctx, key)); err != nil {
		st.Close()
		return nil, err
	}
	return st, nil
}

// Close removes all that is left in it.
func (st *Stage) Close() {
	_ = os.RemoveAll(st.dir) // swept later where this fails
	st.lock.Remove()
}

// File is the path of a file in it.
func (st *Stage) File(name string) string { return filepath.Join(st.dir, name) }

// sweepStages removes what killed pulls left, but for the stage that is own.
func (s *Store) sweepStages(own string) error {
	entries, err := os.ReadDir(s.stageDir())
	if err != nil {
		return err
	}
	var bad error
	for _, f := range entries {
		key := strings.TrimSuffix(f.Name(), lockSuffix)
		if key == own || !f.IsDir() && key == f.Name() {
			continue
		}
		path := filepath.Join(s.stageDir(), key)
		l, err := files.Try(path+lockSuffix, unix.LOCK_EX)
		if err != nil {
			if !errors.Is(err, files.ErrHeld) {
				bad = errors.Join(bad, err)
			}
			continue
		}
		bad = errors.Join(bad, os.RemoveAll(path))
		l.Remove()
	}
	return bad
}

// Commit makes a staged and synced file the image that a manifest speaks of, under a name.
// One that is there already stays as it is, but for its name.
func (s *Store) Commit(ctx context.Context, staged, name string, m Manifest) (Image, error) {
	if !isDigest(m.Digest) {
		return Image{}, fmt.Errorf("images: the digest %q", m.Digest)
	}
	m.Format = format
	l, err := files.Take(ctx, s.lockFile(), unix.LOCK_EX, nil)
	if err != nil {
		return Image{}, err
	}
	defer l.Release()
	names, err := s.names()
	if err != nil {
		return Image{}, err
	}
	if old, err := s.manifest(m.Digest); err == nil {
		m.Created = old.Created
	} else if err := os.Rename(staged, s.erofs(m.Digest)); err != nil {
		return Image{}, err
	}
	if err := writeJSON(s.json(m.Digest), m); err != nil {
		return Image{}, err
	}
	names[name] = m.Digest
	if err := writeJSON(s.namesFile(), names); err != nil {
		return Image{}, err
	}
	return s.image(m, names), nil
}

// tidy removes what killed processes left, but for the stage that is own.
func (s *Store) tidy(ctx context.Context, own string) error {
	l, err := files.Take(ctx, s.lockFile(), unix.LOCK_EX, nil)
	if err != nil {
		return err
	}
	defer l.Release()
	return errors.Join(s.sweep(), s.sweepStages(own))
}

// Current is the image that a name stands for, where it is from that origin.
func (s *Store) Current(name string, o Origin) (Image, bool) {
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
