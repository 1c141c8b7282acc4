package image

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/arcboxlabs/arcbox-engine/guest/files"
)

// Store is a directory of images. It may be used by many goroutines, and the
// directory by many stores.
type Store struct{ dir string }

// Open makes the directory where it is missing.
func Open(dir string) (*Store, error) {
	s := &Store{dir: dir}
	if err := os.MkdirAll(s.stageDir(), 0o700); err != nil {
		return nil, fmt.Errorf("images: %w", err)
	}
	return s, nil
}

// ErrNotFound means that the store has no such image.
var ErrNotFound = errors.New("no such image")

// Hold keeps every image from being removed until release is called. Nothing
// is added meanwhile either, so it is for moments.
func (s *Store) Hold(ctx context.Context) (release func(), err error) {
	l, err := files.Take(ctx, s.lockFile(), unix.LOCK_SH, nil)
	if err != nil {
		return nil, fmt.Errorf("images: %w", err)
	}
	return l.Release, nil
}

// ErrBusy means that the store is being changed by somebody else at this moment.
var ErrBusy = errors.New("the images are being changed")

// TryHold is Hold for who can't wait: it gives up with ErrBusy.
func (s *Store) TryHold() (release func(), err error) {
	l, err := files.Try(s.lockFile(), unix.LOCK_SH)
	if errors.Is(err, files.ErrHeld) {
		return nil, ErrBusy
	}
	if err != nil {
		return nil, fmt.Errorf("images: %w", err)
	}
	return l.Release, nil
}

// Find looks an image up: by a name, in whatever form it is written, by its
// digest, or by the beginning of one.
func (s *Store) Find(reference string) (Image, error) {
	names, err := s.names()
	if err != nil {
		return Image{}, fmt.Errorf("images: %w", err)
	}
	digest, err := s.digest(names, reference)
	if err != nil {
		return Image{}, err
	}
	m, err := s.manifest(digest)
	if errors.Is(err, fs.ErrNotExist) {
		return Image{}, fmt.Errorf("image %q: %w", reference, ErrNotFound)
	}
	if err != nil {
		return Image{}, fmt.Errorf("image %q: %w", reference, err)
	}
	return s.image(m, names), nil
}

const shortDigest = 6 // digits that a digest's beginning needs

func (s *Store) digest(names map[string]string, reference string) (string, error) {
	if d, ok := names[reference]; ok {
		return d, nil
	}
	if ref, err := Parse(reference); err == nil {
		if d, ok := names[ref.Name]; ok && ref.Kind != Tarball {
			return d, nil
		}
	}
	begin, _ := strings.CutPrefix(reference, prefix)
	if len(begin) < shortDigest || !isHex(begin) {
		return "", fmt.Errorf("image %q: %w", reference, ErrNotFound)
	}
	digests, err := s.digests()
	if err != nil {
		return "", fmt.Errorf("images: %w", err)
	}
	digests = slices.DeleteFunc(digests, func(d string) bool { return !strings.HasPrefix(d, prefix+begin) })
	switch len(digests) {
	case 1:
		return digests[0], nil
	case 0:
		return "", fmt.Errorf("image %q: %w", reference, ErrNotFound)
	}
	return "", fmt.Errorf("image %q: the digests of %d images begin so, give more of it: %w", reference, len(digests), ErrNotFound)
}

// digests are those that have a manifest, in order.
func (s *Store) digests() ([]string, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, f := range entries {
		name, ok := strings.CutSuffix(f.Name(), ".json")
		if d := prefix + name; ok && isDigest(d) {
			found = append(found, d)
		}
	}
	return found, nil
}

// List is every image, the newest first. What is damaged is in the error, and
// the others are there nevertheless.
func (s *Store) List() ([]Image, error) {
	names, err := s.names()
	if err != nil {
		return nil, fmt.Errorf("images: %w", err)
	}
	digests, err := s.digests()
	if err != nil {
		return nil, fmt.Errorf("images: %w", err)
	}
	images := []Image{}
	var bad error
	for _, d := range digests {
		m, err := s.manifest(d)
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) { // removed meanwhile
				bad = errors.Join(bad, fmt.Errorf("images: %w", err))
			}
			continue
		}
		images = append(images, s.image(m, names))
	}
	slices.SortStableFunc(images, func(a, b Image) int { return b.Created.Compare(a.Created) })
	return images, bad
}

func (s *Store) image(m Manifest, names map[string]string) Image {
	i := Image{Manifest: m, Names: []string{}, Path: s.erofs(m.Digest)}
	for name, d := range names {
		if d == m.Digest {
			i.Names = append(i.Names, name)
		}
	}
	slices.Sort(i.Names)
	return i
}

// sweep removes what crashed pulls left. Who calls it holds the lock
// exclusively, and does not stage anything yet.
func (s *Store) sweep() error {
	if err := files.Sweep(s.dir); err != nil {
		return err
	}
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	for _, f := range entries {
		name, isImage := strings.CutSuffix(f.Name(), ".erofs")
		d := prefix + name
		if !isImage || !isDigest(d) {
			continue
		}
		if _, err := os.Lstat(s.json(d)); errors.Is(err, fs.ErrNotExist) {
			if err := os.Remove(filepath.Join(s.dir, f.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}
