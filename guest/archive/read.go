package archive

import (
	"archive/tar"
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/arcboxlabs/arcbox-engine/guest/packed"
)

// maxFill is the most that fills up a tar behind its end.
const maxFill = 1 << 20

// Reader reads an archive from its beginning to its end.
type Reader struct {
	Manifest

	in     *source
	packed bool
	tar    *tar.Reader
	plain  io.Reader // what the tar is read from
	done   func()
	raw    string // digest of the manifest
	disk   hash.Hash
	sum    digests // of what was read
	end    int64   // of the last piece
	buf    []byte
	last   string // member that was begun
}

// NewReader reads the manifest, and nothing behind it. Close is called where there
// is no error.
func NewReader(r io.Reader) (*Reader, error) {
	in := &source{r: r}
	plain, done, err := packed.Open(in)
	if in.err != nil {
		return nil, fmt.Errorf("archive: %w", in.err)
	}
	if err != nil {
		return nil, fmt.Errorf("archive: %w: %w", ErrFormat, err)
	}
	_, loose := plain.(*bufio.Reader)
	a := &Reader{in: in, packed: !loose, tar: tar.NewReader(plain), plain: plain, done: done, disk: sha256.New(), last: "its beginning"}
	if err := a.manifest(); err != nil {
		done()
		return nil, err
	}
	return a, nil
}

// Close lets go of what the reader holds.
func (a *Reader) Close() { a.done() }

func (a *Reader) manifest() error {
	h, err := a.tar.Next()
	switch {
	case a.in.err != nil, a.packed && errors.Is(err, io.ErrUnexpectedEOF):
		return a.broken(err)
	case err != nil:
		return fmt.Errorf("archive: %w: it is no tar, packed or not: %w", ErrFormat, err)
	case h.Name != manifestName || h.Typeflag != tar.TypeReg:
		return fmt.Errorf("archive: %w: it begins with %.80q, and not with %s", ErrFormat, h.Name, manifestName)
	}
	a.last = manifestName
	text, err := a.text(h, maxManifest)
	if err != nil {
		return err
	}
	a.raw = digestOf(text)
	if a.Manifest, err = parse(text); err != nil {
		return fmt.Errorf("archive: %w", err)
	}
	return nil
}

// text is a small member.
func (a *Reader) text(h *tar.Header, limit int64) ([]byte, error) {
	if h.Size > limit {
		return nil, fmt.Errorf("archive: %w: %s of %d bytes, at most %d", ErrFormat, h.Name, h.Size, limit)
	}
	text, err := io.ReadAll(a.tar)
	if err != nil {
		return nil, a.broken(err)
	}
	return text, nil
}

// broken says where something could not be read any more. An error of whoever
// reads for us, like that of a Ctrl-C, is his.
func (a *Reader) broken(err error) error {
	switch {
	case a.in.err != nil:
		return fmt.Errorf("archive: %s: %w", a.last, a.in.err)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("archive: %w: it ends in the middle of %s", ErrDamaged, a.last)
	case errors.Is(err, tar.ErrHeader):
		return fmt.Errorf("archive: %w: behind %s comes no member of a tar", ErrDamaged, a.last)
	}
	return fmt.Errorf("archive: %w: in %s: %w", ErrDamaged, a.last, err)
}

// Rest reads all that is behind the manifest: the image, where it is included,
// then the pieces of the disk, at growing offsets. nil = it is read and checked,
// and goes nowhere. What was handed over is what was written where there is no
// error, and can be anything where there is one.
func (a *Reader) Rest(image io.Writer, piece func(at int64, b []byte) error) error {
	if a.Image != nil && a.Image.Included {
		if err := a.image(image); err != nil {
			return err
		}
	}
	for {
		h, err := a.next()
		if err != nil {
			return err
		}
		if h.Name == digestsName {
			return a.finish(h)
		}
		if err := a.piece(h, piece); err != nil {
			return err
		}
	}
}

// next is the next member, of which there has to be one.
func (a *Reader) next() (*tar.Header, error) {
	h, err := a.tar.Next()
	if errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("archive: %w: it ends behind %s, and %s is missing", ErrDamaged, a.last, digestsName)
	}
	if err != nil {
		return nil, a.broken(err)
	}
	if h.Typeflag != tar.TypeReg {
		return nil, fmt.Errorf("archive: %w: %.80q is no plain file", ErrFormat, h.Name)
	}
	a.last = printed(h.Name)
	return h, nil
}

func printed(name string) string {
	return strings.Trim(strconv.QuoteToASCII(name[:min(len(name), 80)]), `"`)
}

func (a *Reader) image(to io.Writer) error {
	h, err := a.next()
	if err != nil {
		return err
	}
	if h.Name != imageName || h.Size != a.Image.Size {
		return fmt.Errorf("archive: %w: %s of %d bytes, and %s of %d should be here", ErrDamaged, a.last, h.Size, imageName, a.Image.Size)
	}
	if to == nil {
		to = io.Discard
	}
	sum, in := sha256.New(), &source{r: a.tar}
	if _, err := io.Copy(io.MultiWriter(to, sum), in); err != nil {
		if in.err != nil {
			return a.broken(err)
		}
		return err
	}
	if got := "sha256:" + hex.EncodeToString(sum.Sum(nil)); got != a.Image.Digest {
		return differs(imageName, strings.TrimPrefix(got, "sha256:"), strings.TrimPrefix(a.Image.Digest, "sha256:"))
	}
	return nil
}

// source remembers whether it was the reading that failed.
type source struct {
	r   io.Reader
	err error
}

// Read implements io.Reader.
func (s *source) Read(b []byte) (int, error) {
	n, err := s.r.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

func (a *Reader) piece(h *tar.Header, to func(int64, []byte) error) error {
	digits, ok := strings.CutPrefix(h.Name, diskPrefix)
	offset, err := strconv.ParseUint(digits, 16, 64)
	if !ok || err != nil || offset > math.MaxInt64 || h.Name != pieceName(int64(offset)) {
		return fmt.Errorf("archive: %w: %s has no place in it", ErrFormat, a.last)
	}
	at := int64(offset)
	switch {
	case a.Disk == nil:
		return fmt.Errorf("archive: %w: %s, and its %s has no disk", ErrFormat, a.last, manifestName)
	case h.Size < 1 || h.Size > maxPiece || at < a.end || at > a.Disk.Size || h.Size > a.Disk.Size-at:
		return fmt.Errorf("archive: %w: %s of %d bytes, behind %d and within a disk of %d", ErrFormat, a.last, h.Size, a.end, a.Disk.Size)
	}
	a.buf = slices.Grow(a.buf[:0], int(h.Size))
	b := a.buf[:h.Size]
	if _, err := io.ReadFull(a.tar, b); err != nil {
		return a.broken(err)
	}
	a.end = at + h.Size
	hashPiece(a.disk, h.Name, b)
	a.sum.Pieces, a.sum.Bytes = a.sum.Pieces+1, a.sum.Bytes+h.Size
	if to == nil {
		return nil
	}
	return to(at, b)
}

// finish compares the digests with what was read.
func (a *Reader) finish(h *tar.Header) error {
	text, err := a.text(h, maxDigests)
	if err != nil {
		return err
	}
	var want digests
	if err := strict(text, &want); err != nil {
		return fmt.Errorf("archive: %w: %s: %w", ErrDamaged, digestsName, err)
	}
	a.sum.Manifest = a.raw
	if a.Disk != nil {
		a.sum.Disk = hex.EncodeToString(a.disk.Sum(nil))
	}
	switch {
	case a.sum.Manifest != want.Manifest:
		return differs(manifestName, a.sum.Manifest, want.Manifest)
	case a.sum.Pieces != want.Pieces || a.sum.Bytes != want.Bytes:
		return fmt.Errorf("archive: %w: %d pieces of the disk with %d bytes, and %d with %d were written", ErrDamaged, a.sum.Pieces, a.sum.Bytes, want.Pieces, want.Bytes)
	case a.sum.Disk != want.Disk:
		return differs("the disk", a.sum.Disk, want.Disk)
	}
	return a.nothing()
}

// nothing may follow but what fills up the tar's last record. To its end it is
// read, because there what packed it has its own checksum.
func (a *Reader) nothing() error {
	_, err := a.tar.Next()
	if err == nil {
		return fmt.Errorf("archive: %w: there is more behind %s", ErrDamaged, digestsName)
	}
	if !errors.Is(err, io.EOF) {
		return a.broken(err)
	}
	n, err := io.CopyN(io.Discard, a.plain, maxFill+1)
	switch {
	case n > maxFill:
		return fmt.Errorf("archive: %w: there is more behind its end", ErrDamaged)
	case !errors.Is(err, io.EOF):
		return a.broken(err)
	}
	return nil
}

func differs(what, got, want string) error {
	return fmt.Errorf("archive: %w: the SHA-256 of %s is %s, and was %.64q", ErrDamaged, what, got, want)
}
