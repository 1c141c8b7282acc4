package rootfs

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/arcboxlabs/arcbox-engine/guest/packed"
)

// Layer is one tar.
type Layer struct {
	// Open begins to read it: plain, or compressed with gzip, xz or zstd. It is
	// called twice where there are several layers.
	Open func() (io.ReadCloser, error)
	// Trusted means that its bytes are known to be all there, because somebody
	// checks their digest: then it may lack the mark that ends a tar.
	Trusted bool
}

const (
	readBuffer = 1 << 20
	// maxTrailer is what may follow the end of a tar. GNU tar pads up to a
	// record, tapes do so with more.
	maxTrailer = 64 << 20
)

// source is what a tar is read from. It stops when ctx is over and knows
// whether it came to an end.
type source struct {
	ctx context.Context
	r   io.Reader
	end bool
}

func (s *source) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := s.r.Read(p)
	s.end = s.end || errors.Is(err, io.EOF)
	return n, err
}

// read calls each for every entry of a layer, in order.
func (l Layer) read(ctx context.Context, each func(entry int, h *tar.Header, data io.Reader) error) (err error) {
	raw, err := l.Open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, raw.Close()) }()
	plain, done, err := packed.Open(&source{ctx: ctx, r: raw})
	if err != nil {
		return meaning(err)
	}
	defer done()
	src := &source{ctx: ctx, r: bufio.NewReaderSize(plain, readBuffer)}
	archive := tar.NewReader(src)
	for entry := 1; ; entry++ {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return l.finish(src)
		}
		if err != nil && h == nil {
			return fmt.Errorf("after entry %d: %w", entry-1, meaning(err))
		}
		if err := each(entry, h, archive); err != nil {
			return &EntryError{Entry: entry, Name: h.Name, Err: meaning(err)}
		}
	}
}

// finish reads what follows the end, so that checksums behind it are checked.
func (l Layer) finish(src *source) error {
	if src.end && !l.Trusted {
		return fmt.Errorf("its end mark is missing: %w", ErrTruncated)
	}
	n, err := io.Copy(io.Discard, io.LimitReader(src, maxTrailer))
	if err != nil {
		return meaning(err)
	}
	if n == maxTrailer {
		return fmt.Errorf("more than %d MiB behind its end: %w", maxTrailer>>20, ErrLimit)
	}
	return nil
}

// meaning gives the errors of readers the names of this package.
func meaning(err error) error {
	switch {
	case errors.Is(err, packed.ErrEmpty):
		return ErrEmpty
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w (%w)", ErrTruncated, err)
	case errors.Is(err, tar.ErrFieldTooLong):
		return fmt.Errorf("%w (%w)", ErrLimit, err)
	case errors.Is(err, tar.ErrHeader):
		return fmt.Errorf("%w (%w)", ErrDamaged, err)
	}
	return err
}
