package tree

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"syscall"

	"github.com/arcboxlabs/arcbox-engine/guest/files"
	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// listStep is how many names of a directory are read at a time.
const listStep = 256

// sender is one Send under way.
type sender struct {
	ctx   context.Context
	sink  Sink
	stats *Stats
	buf   []byte
}

// Send reads the file or directory at a path, which may lead through links.
func Send(ctx context.Context, path string, sink Sink, stats *Stats) error {
	s := &sender{ctx: ctx, sink: sink, stats: stats, buf: make([]byte, wire.Chunk)}
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	switch {
	case info.Mode().IsRegular():
		f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
		if err != nil {
			return fmt.Errorf("copy: %w", err)
		}
		return s.file("", f)
	case info.IsDir():
		root, err := os.OpenRoot(path)
		if err != nil {
			return fmt.Errorf("copy: %w", err)
		}
		defer func() { _ = root.Close() }() // only read
		return s.directory(root, ".", "", info, 0)
	}
	return fmt.Errorf("copy: %s is neither a file nor a directory", path)
}

// SendStream reads a stream as a file without a mode and a time of its own.
func SendStream(ctx context.Context, r io.Reader, sink Sink, stats *Stats) error {
	s := &sender{ctx: ctx, sink: sink, stats: stats, buf: make([]byte, wire.Chunk)}
	stats.begin(0)
	if err := s.entry(&wire.CopyEntry{Kind: wire.CopyEntry_KIND_FILE, Mode: 0o644, Stream: true}); err != nil {
		return err
	}
	size, err := s.stream(r, -1)
	if err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	return s.end(size)
}

func (s *sender) entry(e *wire.CopyEntry) error {
	return s.sink(&wire.CopyPart{Part: &wire.CopyPart_Entry{Entry: e}})
}

func (s *sender) end(size int64) error {
	return s.sink(&wire.CopyPart{Part: &wire.CopyPart_End{End: &wire.CopyEnd{Size: size}}})
}

func newEntry(name string, kind wire.CopyEntry_Kind, info fs.FileInfo) *wire.CopyEntry {
	return &wire.CopyEntry{Name: []byte(name), Kind: kind, Mode: uint32(info.Mode().Perm()), MtimeNanos: info.ModTime().UnixNano()}
}

// directory sends a directory and what is in it. at is its path in root.
func (s *sender) directory(root *os.Root, at, name string, info fs.FileInfo, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("copy: %s: deeper than %d directories", at, maxDepth)
	}
	d, err := root.Open(at)
	if err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	defer d.Close()
	if err := s.entry(newEntry(name, wire.CopyEntry_KIND_DIRECTORY, info)); err != nil {
		return err
	}
	for {
		list, err := d.ReadDir(listStep)
		for _, e := range list {
			if err := s.child(root, path.Join(at, e.Name()), depth); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return s.end(0)
		}
		if err != nil {
			return fmt.Errorf("copy: %w", err)
		}
	}
}

// child sends what stands in a directory. What is gone by now is no fault.
func (s *sender) child(root *os.Root, at string, depth int) error {
	if err := context.Cause(s.ctx); err != nil {
		return err
	}
	info, err := root.Lstat(at)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	name := path.Base(at)
	switch {
	case info.IsDir():
		return s.directory(root, at, name, info, depth+1)
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := root.Readlink(at)
		if err != nil {
			return fmt.Errorf("copy: %w", err)
		}
		e := newEntry(name, wire.CopyEntry_KIND_LINK, info)
		e.Target = []byte(target)
		return s.entry(e)
	case info.Mode().IsRegular():
		f, err := root.OpenFile(at, os.O_RDONLY|syscall.O_NONBLOCK, 0) // it may be a pipe by now
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("copy: %w", err)
		}
		return s.file(name, f)
	}
	s.stats.left(at, kindOf(info.Mode()))
	return s.entry(newEntry(name, wire.CopyEntry_KIND_OTHER, info))
}

func kindOf(mode fs.FileMode) string {
	switch {
	case mode&fs.ModeDevice != 0:
		return "a device"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	case mode&fs.ModeNamedPipe != 0:
		return "a pipe"
	}
	return "no file"
}

// file sends an open file, and closes it.
func (s *sender) file(name string, f *os.File) error {
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("copy: %s was replaced while it was copied", f.Name())
	}
	e := newEntry(name, wire.CopyEntry_KIND_FILE, info)
	e.Size = info.Size()
	s.stats.begin(e.Size)
	if err := s.entry(e); err != nil {
		return err
	}
	size, err := s.content(f, info.Size())
	if err != nil {
		return fmt.Errorf("copy: %s: %w", filepath.Base(f.Name()), err)
	}
	return s.end(size)
}

// content sends what a file holds up to a size; a size of 0 may be a lie, as
// in /proc.
func (s *sender) content(f *os.File, size int64) (int64, error) {
	if size == 0 {
		return s.stream(f, -1)
	}
	for at := int64(0); at < size; {
		from, to, err := files.NextData(f, at, size)
		if err != nil {
			return 0, err
		}
		s.stats.bytes(from - at)
		if from == to {
			break // a hole up to the end
		}
		if _, err := f.Seek(from, io.SeekStart); err != nil {
			return 0, err
		}
		n, err := s.pieces(f, from, to-from)
		if err != nil || n < to-from {
			return from + n, err // it has shrunk
		}
		at = to
	}
	return size, nil
}

// stream sends a stream to its end, or up to a limit; -1 = none.
func (s *sender) stream(r io.Reader, limit int64) (int64, error) {
	return s.pieces(r, 0, limit)
}

// pieces sends up to n bytes (-1 = all) that belong at an offset, without
// those that are zero.
func (s *sender) pieces(r io.Reader, at, n int64) (int64, error) {
	done := int64(0)
	for n < 0 || done < n {
		if err := context.Cause(s.ctx); err != nil {
			return done, err
		}
		want := len(s.buf)
		if n >= 0 {
			want = int(min(int64(want), n-done))
		}
		got, err := io.ReadFull(r, s.buf[:want])
		if got > 0 && !zero(s.buf[:got]) {
			data := &wire.CopyData{Offset: at + done, Data: s.buf[:got]}
			if err := s.sink(&wire.CopyPart{Part: &wire.CopyPart_Data{Data: data}}); err != nil {
				return done, err
			}
		}
		done += int64(got)
		s.stats.bytes(int64(got))
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return done, nil
		}
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

var zeros [wire.MaxChunk]byte

func zero(b []byte) bool { return bytes.Equal(b, zeros[:len(b)]) }
