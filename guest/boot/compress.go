package boot

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/pierrec/lz4/v4"

	"github.com/arcboxlabs/arcbox-engine/guest/packed"
)

// format is a way in which kernels and modules are compressed.
type format string

const (
	plain   format = "plain"
	gzipped format = "gzip"
	xzipped format = "xz"
	zstded  format = "zstd"
	lz4ed   format = "lz4"
)

var magics = []struct {
	format format
	magic  string
}{
	{gzipped, "\x1f\x8b"},
	{xzipped, "\xfd7zXZ\x00"},
	{zstded, "\x28\xb5\x2f\xfd"},
	{lz4ed, "\x02\x21\x4c\x18"}, // the legacy frame, which is the kernel's
}

func sniff(data []byte) format {
	for _, m := range magics {
		if bytes.HasPrefix(data, []byte(m.magic)) {
			return m.format
		}
	}
	return plain
}

// reader opens data in the format that its first bytes name. The caller calls
// the returned function when done.
func reader(data []byte) (io.Reader, func(), error) {
	if sniff(data) == lz4ed {
		return lz4.NewReader(bytes.NewReader(data)), func() {}, nil
	}
	return packed.Open(bytes.NewReader(data))
}

// decompressExactly returns the first size unpacked bytes. What follows is not
// read: a kernel's payload has trailers that no decompressor expects.
func decompressExactly(data []byte, size int64) ([]byte, error) {
	f := sniff(data)
	if f == plain {
		return nil, errors.New("unknown compression")
	}
	r, done, err := reader(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f, err)
	}
	defer done()
	// Grown as it comes, so that a forged size costs no memory.
	var out bytes.Buffer
	n, err := io.Copy(&out, io.LimitReader(r, size))
	if n < size {
		if err == nil {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("%s: %d of %d bytes: %w", f, n, size, err)
	}
	return out.Bytes(), nil
}

// decompress returns all of data unpacked, or data itself where it is plain.
func decompress(data []byte, limit int64) ([]byte, error) {
	f := sniff(data)
	if f == plain {
		return data, nil
	}
	r, done, err := reader(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f, err)
	}
	defer done()
	out, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f, err)
	}
	if int64(len(out)) > limit {
		return nil, fmt.Errorf("%s: unpacks to more than %d bytes", f, limit)
	}
	return out, nil
}
