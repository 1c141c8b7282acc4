package packed

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/mikelolasagasti/xz"
)

// What the tools take, and make, unasked: more memory than that is refused.
const (
	zstdWindow   = 128 << 20
	xzDictionary = 64 << 20
)

var (
	gzipMagic = []byte{0x1f, 0x8b}
	xzMagic   = []byte("\xfd7zXZ\x00")
	zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}
)

// readBuffer is what is read of a packed file at a time.
const readBuffer = 1 << 20

// ErrEmpty means that there is nothing to read at all.
var ErrEmpty = errors.New("nothing is in it")

// Open reads r in the format that its first bytes name. The caller calls the
// returned function when done. Where r ends before what was packed into it, the
// error is io.ErrUnexpectedEOF.
func Open(r io.Reader) (io.Reader, func(), error) {
	nothing := func() {}
	b := bufio.NewReaderSize(r, readBuffer)
	head, err := b.Peek(len(xzMagic))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, nothing, err
	}
	switch {
	case len(head) == 0:
		return nil, nothing, ErrEmpty
	case bytes.HasPrefix(head, gzipMagic):
		z, err := gzip.NewReader(b)
		if err != nil {
			return nil, nothing, broken("gzip", err)
		}
		return unpacked{"gzip", z}, nothing, nil
	case bytes.HasPrefix(head, xzMagic):
		z, err := xz.NewReader(b, xzDictionary)
		if err != nil {
			return nil, nothing, broken("xz", err)
		}
		return unpacked{"xz", z}, nothing, nil
	case bytes.HasPrefix(head, zstdMagic):
		z, err := zstd.NewReader(b, zstd.WithDecoderMaxWindow(zstdWindow))
		if err != nil {
			return nil, nothing, broken("zstd", err)
		}
		return unpacked{"zstd", z}, z.Close, nil
	}
	return b, nothing, nil
}

// unpacked says of which format an error is.
type unpacked struct {
	format string
	io.Reader
}

func (u unpacked) Read(p []byte) (int, error) {
	n, err := u.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = broken(u.format, err)
	}
	return n, err
}

// broken tells damage from an input that ends early or can't be read.
func broken(format string, err error) error {
	// xz.ErrBuf is a decoder that wants more than there is.
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || errors.Is(err, xz.ErrBuf) {
		return fmt.Errorf("%s: %w", format, io.ErrUnexpectedEOF)
	}
	return fmt.Errorf("%s: %w", format, err)
}
