package image

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/arcboxlabs/arcbox-engine/guest/files"
)

// Kind is where an image came from.
type Kind string

// The kinds of references.
const (
	Machine Kind = "machine" // an index of machine images
	OCI     Kind = "oci"     // a container registry
	Tarball Kind = "tarball" // a file or a URL
)

// Origin is where an image came from and what it is.
type Origin struct {
	Kind      Kind   `json:"kind"`
	Reference string `json:"reference"` // as its source understands it
	// Digest is the source's own: of a manifest, or of an archive. "" where
	// nobody said it.
	Digest       string `json:"digest,omitempty"`
	Distribution string `json:"distribution,omitempty"`
	Version      string `json:"version,omitempty"`
	Architecture string `json:"architecture"`
}

// Manifest is what the store knows of an image.
type Manifest struct {
	Format  int       `json:"format"`
	Digest  string    `json:"digest"` // of the EROFS file: sha256 and 64 digits
	Size    int64     `json:"size"`
	Files   int       `json:"files"`
	Created time.Time `json:"created"` // when the store made it
	Origin  Origin    `json:"origin"`
}

// Image is a manifest with its names and its place.
type Image struct {
	Manifest
	Names []string `json:"names"`
	Path  string   `json:"path"`
}

const (
	format      = 1
	prefix      = "sha256:"
	maxManifest = 1 << 20
)

// isDigest tells whether s is an image's digest.
func isDigest(s string) bool {
	sum, ok := strings.CutPrefix(s, prefix)
	return ok && IsSHA256(sum)
}

// ErrDamaged means that a file of the store is not what the store wrote.
var ErrDamaged = errors.New("is damaged")

func (s *Store) erofs(digest string) string {
	return filepath.Join(s.dir, digest[len(prefix):]+".erofs")
}
func (s *Store) json(digest string) string {
	return filepath.Join(s.dir, digest[len(prefix):]+".json")
}
func (s *Store) namesFile() string { return filepath.Join(s.dir, "names.json") }
func (s *Store) lockFile() string  { return filepath.Join(s.dir, "lock") }
func (s *Store) stageDir() string  { return filepath.Join(s.dir, "stage") }

// manifest reads one. That its image is there, and as long, is checked too.
func (s *Store) manifest(digest string) (Manifest, error) {
	var m Manifest
	if err := readJSON(s.json(digest), &m); err != nil {
		return Manifest{}, err
	}
	if m.Format != format || m.Digest != digest {
		return Manifest{}, fmt.Errorf("%s %w: format %d, digest %q", s.json(digest), ErrDamaged, m.Format, m.Digest)
	}
	info, err := os.Lstat(s.erofs(digest))
	if err != nil {
		return Manifest{}, err
	}
	if !info.Mode().IsRegular() || info.Size() != m.Size {
		return Manifest{}, fmt.Errorf("%s %w: %d bytes, the manifest says %d", s.erofs(digest), ErrDamaged, info.Size(), m.Size)
	}
	return m, nil
}

// names reads which digest each name stands for.
func (s *Store) names() (map[string]string, error) {
	names := map[string]string{}
	err := readJSON(s.namesFile(), &names)
	if errors.Is(err, ErrDamaged) {
		return nil, fmt.Errorf("%w; without it images have no names, and can be pulled again", err)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for name, digest := range names {
		if !isDigest(digest) {
			return nil, fmt.Errorf("%s %w: the digest of %.100q is %.100q", s.namesFile(), ErrDamaged, name, digest)
		}
	}
	return names, nil
}

func readJSON(path string, into any) error {
	data, err := files.Read(path, maxManifest)
	if errors.Is(err, files.ErrSize) {
		return fmt.Errorf("%s %w: %w", path, ErrDamaged, err)
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("%s %w: %w", path, ErrDamaged, err)
	}
	return nil
}

func writeJSON(path string, what any) error {
	data, err := json.MarshalIndent(what, "", "  ")
	if err != nil {
		return err
	}
	return files.Replace(path, append(data, '\n'), 0o600)
}
