package hosts

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// ownerPause is between two looks at an owner. A flock that waits in the kernel
// could not be given up.
const ownerPause = 500 * time.Millisecond

// Gone implements actors.Owners. An owner holds a flock on a file of its name, so
// that it can't end without the kernel's letting go of it. Who finds the lock free
// removes the file: names of owners come once.
func (w *World) Gone(ctx context.Context, owner string) error {
	path := filepath.Join(w.Owners, owner)
	for {
		gone, err := ownerGone(path)
		if gone || err != nil {
			return err
		}
		select {
		case <-time.After(ownerPause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func ownerGone(path string) (bool, error) {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("owner: %w", err)
	}
	defer f.Close()
	switch err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); {
	case errors.Is(err, unix.EWOULDBLOCK):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("owner: lock %s: %w", path, err)
	}
	_ = os.Remove(path) // a later command sweeps it where this fails
	return true, nil
}
