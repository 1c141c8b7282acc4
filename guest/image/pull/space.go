package pull

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

const (
	// reserve is what a pull leaves free on the disk: twice of what the engine
	// wants there to go on with its work.
	reserve = 512 << 20
	// spaceStep is how many bytes are written between two looks.
	spaceStep = 32 << 20
)

// ErrSpace means that the disk has too little room for an image.
var ErrSpace = errors.New("the disk is almost full")

// space watches over the disk while a pull writes.
type space struct {
	dir     string
	free    func(dir string) (uint64, error)
	step    int64
	unasked atomic.Int64 // bytes that were written since the last look
}

// look refuses where less is free than has to be left.
func (s *space) look() error {
	free, err := s.free(s.dir)
	if err != nil {
		return err
	}
	if free < reserve {
		return fmt.Errorf("%w: %d MiB are free at %s, %d have to stay free", ErrSpace, free>>20, s.dir, reserve>>20)
	}
	return nil
}

func (s *space) spend(n int) error {
	if s.unasked.Add(int64(n)) < s.step {
		return nil
	}
	s.unasked.Store(0)
	return s.look()
}

// thrifty is an output that minds the space.
type thrifty struct {
	output
	space *space
}

func (t thrifty) WriteAt(p []byte, at int64) (int, error) {
	if err := t.space.spend(len(p)); err != nil {
		return 0, err
	}
	return t.output.WriteAt(p, at)
}

// thriftyWriter is the same for a file that is written from its beginning.
type thriftyWriter struct {
	io.Writer
	space *space
}

func (t thriftyWriter) Write(p []byte) (int, error) {
	if err := t.space.spend(len(p)); err != nil {
		return 0, err
	}
	return t.Writer.Write(p)
}

// freeSpace is what a user may still write where dir lies.
func freeSpace(dir string) (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("free space of %s: %w", dir, err)
	}
	return st.Bavail * uint64(st.Bsize), nil //nolint:gosec // a block's size is positive; its type differs between systems
}
