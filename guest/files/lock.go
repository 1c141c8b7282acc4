package files

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// lockPause is between two looks at a lock that somebody else has. A flock that
// waits in the kernel could not be given up.
const lockPause = 50 * time.Millisecond

// ErrHeld means that somebody else holds a lock.
var ErrHeld = errors.New("is held by somebody else")

// Lock is a flock on a file that its path still names. It ends with the process.
type Lock struct{ f *os.File }

// Take waits for a lock, how being unix.LOCK_SH or unix.LOCK_EX, as long as ctx
// lasts; held, where there is one, is called once if it has to.
func Take(ctx context.Context, path string, how int, held func()) (*Lock, error) {
	for first := true; ; first = false {
		l, err := Try(path, how)
		if !errors.Is(err, ErrHeld) {
			return l, err
		}
		if first && held != nil {
			held()
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("lock %s: %w", path, context.Cause(ctx))
		case <-time.After(lockPause):
		}
	}
}

// Try does not wait, but ends with ErrHeld. A file that was removed or replaced
// meanwhile is no lock any more, and counts as held: the next try sees the new
// one.
func Try(path string, how int) (*Lock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = ErrHeld
	}
	if err == nil {
		err = same(f, path)
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return &Lock{f}, nil
}

func same(f *os.File, path string) error {
	locked, err := f.Stat()
	if err != nil {
		return err
	}
	named, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(locked, named) {
		return ErrHeld
	}
	return err
}

// Release gives the lock up.
func (l *Lock) Release() { _ = l.f.Close() }

// Remove gives the lock up and its file too.
func (l *Lock) Remove() {
	_ = os.Remove(l.f.Name()) // who waits sees that it is gone, and makes a new one
	l.Release()
}
