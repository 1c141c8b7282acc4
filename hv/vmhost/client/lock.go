package client

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/arcboxlabs/arcbox-engine/hv/vmhost/api"
)

// Place is where a machine lives: its directory and that of its sockets.
type Place struct{ Dir, RunDir string }

func (p Place) lockPath() string { return filepath.Join(p.Dir, api.LockFile) }

// What the lock and the VM host can say.
var (
	ErrHeld    = errors.New("vm host: the machine's lock is held")
	ErrGone    = errors.New("vm host: gone")
	ErrMute    = errors.New("vm host: does not answer")
	ErrRefused = errors.New("vm host: refused by the guest")
)

const (
	// lockTime is how long a held lock is tried again: a fork anywhere in the
	// engine holds every descriptor until its exec.
	lockTime  = time.Second
	lockPause = 10 * time.Millisecond
)

// Lock is a machine's lock, held by this process until Close or Launch.
type Lock struct {
	place Place
	mu    sync.Mutex
	f     *os.File // nil once closed
}

// TakeLock opens the lock file anew and locks it, trying for up to a second.
// It returns ErrHeld where another holds it.
func TakeLock(ctx context.Context, p Place) (*Lock, error) {
	ctx, cancel := context.WithTimeout(ctx, lockTime)
	defer cancel()
	for {
		lock, err := tryLock(p)
		if !errors.Is(err, ErrHeld) {
			return lock, err
		}
		if pause(ctx, lockPause) != nil {
			return nil, err
		}
	}
}

// tryLock does not wait.
func tryLock(p Place) (*Lock, error) {
	for range 3 {
		f, err := os.OpenFile(p.lockPath(), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
		if err != nil {
			return nil, fmt.Errorf("lock: %w", err)
		}
		same, err := flock(f, p.lockPath())
		if err == nil && same {
			p.sweep()
			return &Lock{place: p, f: f}, nil
		}
		_ = f.Close()
		if err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("lock %s: was replaced again and again", p.lockPath())
}

// sweep removes the sockets of a VM host that was killed. Who holds the lock
// knows that nobody listens on them.
func (p Place) sweep() {
	if !filepath.IsAbs(p.RunDir) {
		return
	}
	for _, name := range []string{api.HostSocket, api.VsockSocket, api.LinkSocket} {
		path := filepath.Join(p.RunDir, name)
		if fi, err := os.Lstat(path); err == nil && fi.Mode().Type() == os.ModeSocket {
			_ = os.Remove(path) // the next VM host tries again
		}
	}
}

// flock locks f and tells whether path still names it.
func flock(f *os.File, path string) (same bool, err error) {
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return false, fmt.Errorf("%w: %s", ErrHeld, path)
	}
	if err != nil {
		return false, fmt.Errorf("lock %s: %w", path, err)
	}
	locked, err := f.Stat()
	if err != nil {
		return false, fmt.Errorf("lock %s: %w", path, err)
	}
	named, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("lock %s: %w", path, err)
	case !named.Mode().IsRegular():
		return false, fmt.Errorf("lock %s: is not a regular file", path)
	}
	return os.SameFile(locked, named), nil
}

// Close gives this process's copy of the lock up. It may be called again.
func (l *Lock) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f == nil {
		return nil
	}
	err := l.f.Close()
	l.f = nil
	return err
}

// Held tells whether this process still has its copy.
func (l *Lock) Held() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.f != nil
}

// pause waits, or returns the context's error.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
