package image

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

var errHeld = errors.New("is held by somebody else")

// fileLock is a flock on a file that its path still names.
type fileLock struct{ f *os.File }

// lock waits for the lock; held is called once if it has to.
func lock(ctx context.Context, path string, how int, held func()) (*fileLock, error) {
	for first := true; ; first = false {
		l, err := tryLock(path, how)
		if !errors.Is(err, errHeld) {
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

// tryLock does not wait. A file that was removed or replaced meanwhile is no
// lock any more, and counts as held: the next try sees the new one.
func tryLock(path string, how int) (*fileLock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = errHeld
	}
	if err == nil {
		err = same(f, path)
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return &fileLock{f}, nil
}

func same(f *os.File, path string) error {
	locked, err := f.Stat()
	if err != nil {
		return err
	}
	named, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(locked, named) {
		return errHeld
	}
	return err
}

// release gives the lock up.
func (l *fileLock) release() { _ = l.f.Close() }

// remove gives the lock up and its file too.
func (l *fileLock) remove() {
	_ = os.Remove(l.f.Name()) // who waits sees that it is gone, and makes a new one
	l.release()
}
