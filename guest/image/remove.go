package image

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/arcboxlabs/arcbox-engine/guest/files"
)

// Users tells which machines use the image with a digest. It is asked while the
// store is locked.
type Users func(digest string) ([]string, error)

// InUseError refuses to remove what machines need.
type InUseError struct {
	Image string // as it was asked for
	Users []string
}

func (e *InUseError) Error() string {
	return fmt.Sprintf("image %q is used by %s", e.Image, strings.Join(e.Users, ", "))
}

// Removed is what Remove and Prune did.
type Removed struct {
	Names   []string `json:"names"`   // that stand for nothing any more
	Digests []string `json:"digests"` // of images that are gone
	Bytes   int64    `json:"bytes"`
}

// Remove removes a name, and the image with its last name. A digest removes the
// image with all its names.
func (s *Store) Remove(ctx context.Context, reference string, users Users) (Removed, error) {
	l, err := files.Take(ctx, s.lockFile(), unix.LOCK_EX, nil)
	if err != nil {
		return Removed{}, fmt.Errorf("images: %w", err)
	}
	defer l.Release()
	names, err := s.names()
	if err != nil {
		return Removed{}, fmt.Errorf("images: %w", err)
	}
	digest, err := s.digest(names, reference)
	if err != nil {
		return Removed{}, err
	}
	if name := nameOf(names, reference); name != "" {
		rest := maps.Clone(names)
		delete(rest, name)
		if stands(rest, digest) {
			if err := writeJSON(s.namesFile(), rest); err != nil {
				return Removed{}, fmt.Errorf("images: %w", err)
			}
			return Removed{Names: []string{name}}, nil
		}
	}
	used, err := users(digest)
	if err != nil {
		return Removed{}, err
	}
	if len(used) > 0 {
		return Removed{}, &InUseError{Image: reference, Users: used}
	}
	var done Removed
	err = s.remove(names, digest, &done)
	return done, err
}

// nameOf is the name that a reference is, "" where it is a digest.
func nameOf(names map[string]string, reference string) string {
	if _, ok := names[reference]; ok {
		return reference
	}
	if ref, err := Parse(reference); err == nil && ref.Kind != Tarball {
		if _, ok := names[ref.Name]; ok {
			return ref.Name
		}
	}
	return ""
}

func stands(names map[string]string, digest string) bool {
	for _, d := range names {
		if d == digest {
			return true
		}
	}
	return false
}

// remove takes an image away, and adds that to done: first its names, then its
// manifest, by which it is no image any more, then the file.
func (s *Store) remove(names map[string]string, digest string, done *Removed) error {
	var gone []string
	for name, d := range names {
		if d == digest {
			gone = append(gone, name)
			delete(names, name)
		}
	}
	if len(gone) > 0 {
		if err := writeJSON(s.namesFile(), names); err != nil {
			return fmt.Errorf("images: %w", err)
		}
	}
	done.Names = append(done.Names, gone...)
	info, err := os.Lstat(s.erofs(digest))
	if err == nil {
		done.Bytes += info.Size()
	}
	for _, path := range []string{s.json(digest), s.erofs(digest)} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("images: %w", err)
		}
	}
	done.Digests = append(done.Digests, digest)
	return files.SyncDir(s.dir)
}

// Prune removes the images that no machine uses and that have no name; with
// all, also those that have one. It sweeps what crashed pulls left.
func (s *Store) Prune(ctx context.Context, all bool, users Users) (Removed, error) {
	var done Removed
	l, err := files.Take(ctx, s.lockFile(), unix.LOCK_EX, nil)
	if err != nil {
		return done, fmt.Errorf("images: %w", err)
	}
	defer l.Release()
	if err := errors.Join(s.sweep(), s.sweepStages("")); err != nil {
		return done, fmt.Errorf("images: %w", err)
	}
	names, err := s.names()
	if err != nil {
		return done, fmt.Errorf("images: %w", err)
	}
	digests, err := s.digests()
	if err != nil {
		return done, fmt.Errorf("images: %w", err)
	}
	for _, d := range digests {
		if stands(names, d) && !all {
			continue
		}
		used, err := users(d)
		if err != nil {
			return done, err
		}
		if len(used) > 0 {
			continue
		}
		if err := s.remove(names, d, &done); err != nil {
			return done, err
		}
	}
	return done, nil
}
