package tree

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path"
	"syscall"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// file writes a file beside its place, and puts it there when it is whole.
func (r *receiver) file(root *os.Root, at string, e *wire.CopyEntry) error {
	r.stats.begin(e.GetSize())
	old, err := replaced(root, at)
	if err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	f, part, err := beside(root, at)
	if err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	whole := false
	defer func() {
		f.Close() // a second time is harmless
		if !whole {
			_ = root.Remove(part) // clearing up after another error
		}
	}()
	if err := r.content(f, f.Truncate); err != nil {
		return err
	}
	mode := fs.FileMode(e.GetMode()) & fs.ModePerm
	if old != nil {
		ownAs(f, old)
		if e.GetStream() {
			mode = old.Mode().Perm()
		}
	}
	if err := r.own(root, part); err != nil {
		return err
	}
	if err := errors.Join(f.Chmod(mode), f.Close()); err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	if err := setTime(root, part, e); err != nil {
		return err
	}
	if err := root.Rename(part, at); err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	whole = true
	return nil
}

// ownAs gives a file to the owner of the one that it replaces, where that is
// allowed: somebody who is not root replaces files of his own.
func ownAs(f *os.File, old fs.FileInfo) {
	if stat, ok := old.Sys().(*syscall.Stat_t); ok {
		_ = f.Chown(int(stat.Uid), int(stat.Gid))
	}
}

// beside makes a file of a new name in the directory of another.
func beside(root *os.Root, at string) (*os.File, string, error) {
	for {
		name := path.Join(path.Dir(at), fmt.Sprintf(".arcbox-%08x.part", rand.Uint32()))
		f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if !errors.Is(err, fs.ErrExist) {
			return f, name, err
		}
	}
}

// content takes a file's pieces and its end.
func (r *receiver) content(w io.WriterAt, resize func(int64) error) error {
	done := int64(0)
	for {
		p, err := r.part()
		if err != nil {
			return err
		}
		switch step := p.GetPart().(type) {
		case *wire.CopyPart_Data:
			at, b := step.Data.GetOffset(), step.Data.GetData()
			if at < done || len(b) > wire.MaxChunk || at > math.MaxInt64-int64(len(b)) {
				return brokenParts("%d bytes at %d, behind %d", len(b), at, done)
			}
			if _, err := w.WriteAt(b, at); err != nil {
				return fmt.Errorf("copy: %w", err)
			}
			r.stats.bytes(at + int64(len(b)) - done)
			done = at + int64(len(b))
		case *wire.CopyPart_End:
			size := step.End.GetSize()
			if size < done {
				return brokenParts("a file of %d bytes ends at %d", done, size)
			}
			r.stats.bytes(size - done)
			if err := resize(size); err != nil {
				return fmt.Errorf("copy: %w", err)
			}
			return nil
		default:
			return brokenParts("an entry within a file")
		}
	}
}

// ReceiveStream writes the content of one file to a stream, zeros for holes.
func ReceiveStream(w io.Writer, next Source, stats *Stats) error {
	r := &receiver{next: next, stats: stats}
	first, err := r.part()
	if err != nil {
		return err
	}
	switch e := first.GetEntry(); e.GetKind() {
	case wire.CopyEntry_KIND_FILE:
		stats.begin(e.GetSize())
	case wire.CopyEntry_KIND_DIRECTORY:
		return errors.New("copy: a directory can't go to a stream")
	default:
		return brokenParts("the first is of the kind %v", e.GetKind())
	}
	s := &stream{w: w}
	if err := r.content(s, s.fill); err != nil {
		return err
	}
	if _, err := next(); !errors.Is(err, io.EOF) {
		return errors.Join(brokenParts("something is behind the end"), err)
	}
	return nil
}

// stream is a writer that is written at growing offsets only.
type stream struct {
	w  io.Writer
	at int64
}

// WriteAt implements io.WriterAt.
func (s *stream) WriteAt(b []byte, at int64) (int, error) {
	if err := s.fill(at); err != nil {
		return 0, err
	}
	n, err := s.w.Write(b)
	s.at += int64(n)
	return n, err
}

// fill writes zeros up to an offset.
func (s *stream) fill(to int64) error {
	for s.at < to {
		n, err := s.w.Write(zeros[:min(int64(len(zeros)), to-s.at)])
		s.at += int64(n)
		if err != nil {
			return err
		}
	}
	return nil
}
