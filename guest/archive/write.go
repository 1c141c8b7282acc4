package archive

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	"github.com/klauspost/compress/zstd"
)

// The members of an archive.
const (
	manifestName = "manifest.json"
	imageName    = "image.erofs"
	diskPrefix   = "disk/"
	digestsName  = "digests.json"
)

// maxPiece is the most that one member holds of the disk.
const maxPiece = 1 << 20

// Writer writes an archive: the image, if there is one, then the pieces.
type Writer struct {
	m      Manifest
	zip    *zstd.Encoder
	tar    *tar.Writer
	sum    digests
	disk   hash.Hash
	piece  []byte // not written yet
	at     int64  // where it belongs
	end    int64  // of the last piece
	imaged bool
}

// NewWriter begins an archive with its manifest, whose Format is filled in.
func NewWriter(w io.Writer, m Manifest) (*Writer, error) {
	m.Format = Format
	if err := m.check(); err != nil {
		return nil, fmt.Errorf("write archive: %w", err)
	}
	text, err := json.MarshalIndent(m, "", "  ")
	if err == nil && len(text) > maxManifest {
		err = fmt.Errorf("%s of %d bytes, at most %d", manifestName, len(text), maxManifest)
	}
	if err != nil {
		return nil, fmt.Errorf("write archive: %w", err)
	}
	z, err := zstd.NewWriter(w, zstd.WithEncoderCRC(true))
	if err != nil {
		return nil, fmt.Errorf("write archive: %w", err)
	}
	out := &Writer{m: m, zip: z, tar: tar.NewWriter(z), disk: sha256.New(), piece: make([]byte, 0, maxPiece)}
	out.sum.Manifest = digestOf(text)
	return out, out.member(manifestName, text)
}

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func (w *Writer) header(name string, size int64) error {
	h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o600, ModTime: w.m.Made.Truncate(time.Second), Format: tar.FormatPAX}
	if err := w.tar.WriteHeader(h); err != nil {
		return fmt.Errorf("write archive: %s: %w", name, err)
	}
	return nil
}

func (w *Writer) member(name string, b []byte) error {
	if err := w.header(name, int64(len(b))); err != nil {
		return err
	}
	if _, err := w.tar.Write(b); err != nil {
		return fmt.Errorf("write archive: %s: %w", name, err)
	}
	return nil
}

// Image writes the image, which has to be as the manifest says.
func (w *Writer) Image(r io.Reader) error {
	i := w.m.Image
	if i == nil || !i.Included || w.imaged || w.sum.Pieces > 0 || len(w.piece) > 0 {
		return errors.New("write archive: there is no image to come here")
	}
	w.imaged = true
	if err := w.header(imageName, i.Size); err != nil {
		return err
	}
	sum := sha256.New()
	if _, err := io.Copy(io.MultiWriter(w.tar, sum), io.LimitReader(r, i.Size)); err != nil {
		return fmt.Errorf("write archive: the image: %w", err)
	}
	if got := "sha256:" + hex.EncodeToString(sum.Sum(nil)); got != i.Digest {
		return fmt.Errorf("write archive: the image %s %w: what is there has the digest %s", i.Digest, ErrDamaged, got)
	}
	return nil
}

// Piece writes a piece of the disk. Pieces come at growing offsets; those that
// touch each other become one.
func (w *Writer) Piece(at int64, b []byte) error {
	if w.m.Disk == nil || at < w.end || at > w.m.Disk.Size || int64(len(b)) > w.m.Disk.Size-at {
		return fmt.Errorf("write archive: %d bytes at %d belong nowhere, behind %d", len(b), at, w.end)
	}
	if at != w.end {
		if err := w.flush(); err != nil {
			return err
		}
	}
	for len(b) > 0 {
		if len(w.piece) == 0 {
			w.at = at
		}
		n := min(len(b), maxPiece-len(w.piece))
		w.piece = append(w.piece, b[:n]...)
		at, b = at+int64(n), b[n:]
		w.end = at
		if len(w.piece) == maxPiece {
			if err := w.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *Writer) flush() error {
	if len(w.piece) == 0 {
		return nil
	}
	name := pieceName(w.at)
	if err := w.member(name, w.piece); err != nil {
		return err
	}
	hashPiece(w.disk, name, w.piece)
	w.sum.Pieces, w.sum.Bytes = w.sum.Pieces+1, w.sum.Bytes+int64(len(w.piece))
	w.piece = w.piece[:0]
	return nil
}

func pieceName(at int64) string { return fmt.Sprintf("%s%016x", diskPrefix, at) }

func hashPiece(h hash.Hash, name string, b []byte) {
	_, _ = io.WriteString(h, name+"\n") // a hash takes everything
	_, _ = h.Write(b)
}

// Close writes the end. Without it an archive is none.
func (w *Writer) Close() error {
	if i := w.m.Image; i != nil && i.Included && !w.imaged {
		return errors.New("write archive: the image is missing")
	}
	if err := w.flush(); err != nil {
		return err
	}
	if w.m.Disk != nil {
		w.sum.Disk = hex.EncodeToString(w.disk.Sum(nil))
	}
	text, err := json.MarshalIndent(w.sum, "", "  ")
	if err == nil {
		err = w.member(digestsName, text)
	}
	if err == nil {
		err = errors.Join(w.tar.Close(), w.zip.Close())
	}
	if err != nil {
		return fmt.Errorf("write archive: %w", err)
	}
	return nil
}
