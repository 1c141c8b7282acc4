package archive

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// Format is the version of archives that are written, and the newest that is read.
const Format = 1

// Bounds of what is read.
const (
	maxManifest = 1 << 20
	maxDigests  = 64 << 10
	maxDisk     = 8 << 40
	maxImage    = 1 << 40
)

// The errors of what is read.
var (
	// ErrFormat means that it is no archive of a machine.
	ErrFormat = errors.New("is no archive of a machine")
	// ErrNewer means that a newer arcbox wrote it.
	ErrNewer = errors.New("needs a newer arcbox")
	// ErrDamaged means that it is not what was written.
	ErrDamaged = errors.New("is damaged")
)

// Manifest says what an archive has.
type Manifest struct {
	Format int       `json:"format"`
	ArcBox string    `json:"arcbox"` // the version that wrote it
	Made   time.Time `json:"made"`
	Name   string    `json:"name"`
	// Spec is what the machine is to be, by the keys of a machine file.
	Spec  json.RawMessage `json:"spec"`
	Image *Image          `json:"image,omitempty"` // nil = it has none
	Disk  *Disk           `json:"disk,omitempty"`  // nil = it never had one
}

// Image is the image of the machine.
type Image struct {
	Digest string `json:"digest"` // sha256: and 64 digits, of its EROFS file
	Name   string `json:"name"`   // what it was asked for by
	// The rest is not known to who never had the image beside him.
	Size         int64  `json:"size,omitempty"`
	Kind         string `json:"kind,omitempty"`
	Source       string `json:"source,omitempty"`        // as its source understands it
	SourceDigest string `json:"source_digest,omitempty"` // the source's own
	Distribution string `json:"distribution,omitempty"`
	Version      string `json:"version,omitempty"`
	Architecture string `json:"architecture,omitempty"`
	Files        int    `json:"files,omitempty"`
	Included     bool   `json:"included,omitempty"` // it is in the archive
}

// Disk is the machine's own disk.
type Disk struct {
	Size int64 `json:"size"` // bytes, holes included
}

// digests are what stands at the end. An image's digest is in the manifest.
type digests struct {
	Manifest string `json:"manifest"`
	Disk     string `json:"disk,omitempty"` // of the name of each piece, a newline, and the piece
	Bytes    int64  `json:"bytes"`          // of all pieces
	Pieces   int64  `json:"pieces"`
}

// check refuses a manifest that makes no sense.
func (m Manifest) check() error {
	switch {
	case m.Format < 1:
		return fmt.Errorf("%w: format %d in its %s", ErrFormat, m.Format, manifestName)
	case m.Disk != nil && (m.Disk.Size < 1 || m.Disk.Size > maxDisk):
		return fmt.Errorf("%w: a disk of %d bytes, 1 to %d are possible", ErrFormat, m.Disk.Size, int64(maxDisk))
	case m.Disk != nil && m.Image == nil:
		return fmt.Errorf("%w: a disk without an image", ErrFormat)
	case m.Image != nil && !isDigest(m.Image.Digest):
		return fmt.Errorf("%w: the digest of its image is %.100q", ErrFormat, m.Image.Digest)
	case m.Image != nil && m.Image.Included && (m.Image.Size < 1 || m.Image.Size > maxImage):
		return fmt.Errorf("%w: an image of %d bytes, 1 to %d are possible", ErrFormat, m.Image.Size, int64(maxImage))
	}
	return nil
}

func isDigest(s string) bool {
	sum, ok := strings.CutPrefix(s, "sha256:")
	raw, err := hex.DecodeString(sum)
	return ok && err == nil && len(raw) == 32 && strings.ToLower(sum) == sum
}

// parse reads a manifest. Keys that are not known stand for something that must
// not be left out in silence.
func parse(text []byte) (Manifest, error) {
	var version struct {
		Format int    `json:"format"`
		ArcBox string `json:"arcbox"`
	}
	if err := json.Unmarshal(text, &version); err != nil {
		return Manifest{}, fmt.Errorf("%w: %s: %w", ErrFormat, manifestName, err)
	}
	if version.Format > Format {
		return Manifest{}, fmt.Errorf("%w: it has format %d, made by arcbox %.80q, and this one reads formats up to %d", ErrNewer, version.Format, version.ArcBox, Format)
	}
	var m Manifest
	if err := strict(text, &m); err != nil {
		return Manifest{}, fmt.Errorf("%w: %s: %w", ErrFormat, manifestName, err)
	}
	return m, m.check()
}

// strict reads one JSON value, all of whose keys are known.
func strict(text []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is more behind its end")
	}
	return nil
}
