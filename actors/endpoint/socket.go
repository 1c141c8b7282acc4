package endpoint

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// ErrInUse is the error of Listen where somebody answers on the socket.
var ErrInUse = errors.New("endpoint: another engine answers on the socket")

// Listen makes a socket that only its owner (and root) can reach: mode 0600 in
// a directory of mode 0700, which is made where it is missing. A socket left
// behind by a dead engine is replaced, one that is served is not. The caller
// holds the engine's lock, so that no two engines do this at once.
func Listen(path string) (net.Listener, error) {
	if !filepath.IsAbs(path) {
		return nil, fmt.Errorf("endpoint: the socket path %q is not absolute", path)
	}
	if len(path) > socketPathMax {
		return nil, fmt.Errorf("endpoint: the socket path %q has %d bytes, the limit is %d: set ARCBOX_HOME to a shorter directory",
			path, len(path), socketPathMax)
	}
	if err := privateDir(filepath.Dir(path)); err != nil {
		return nil, err
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	lis, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("endpoint: listen: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("endpoint: listen: %w", err), lis.Close())
	}
	made, err := os.Lstat(path)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("endpoint: listen: %w", err), lis.Close())
	}
	lis.SetUnlinkOnClose(false)
	return &ownSocket{lis, path, made}, nil
}

// ownSocket takes its file away when it is closed, and no other: a service manager
// may have put a socket in its place.
type ownSocket struct {
	*net.UnixListener
	path string
	made fs.FileInfo
}

// Close implements net.Listener.
func (s *ownSocket) Close() error {
	if now, err := os.Lstat(s.path); err == nil && os.SameFile(now, s.made) {
		if err := os.Remove(s.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return errors.Join(fmt.Errorf("endpoint: close: %w", err), s.UnixListener.Close())
		}
	}
	return s.UnixListener.Close()
}

// privateDir makes a directory 0700. It never tightens a shared one such as
// /tmp, nor one that belongs to somebody else.
func privateDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("endpoint: the socket's directory: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("endpoint: the socket's directory: %w", err)
	}
	if info.Mode().Perm()&0o077 == 0 {
		return nil
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(owner.Uid) != os.Geteuid() || info.Mode()&fs.ModeSticky != 0 {
		return fmt.Errorf("endpoint: the socket's directory %s has mode %v, allowed is a directory of one's own with mode 0700: set ARCBOX_HOME to one",
			dir, info.Mode())
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return fmt.Errorf("endpoint: the socket's directory: %w", err)
	}
	return nil
}

// removeStale clears the way: a refused connection is the kernel's word that
// nobody listens. Any other outcome, a full backlog for one, means somebody.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("endpoint: look at the socket: %w", err)
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("endpoint: %s is in the way: it is no socket (%v)", path, info.Mode())
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		return errors.Join(fmt.Errorf("%w: %s", ErrInUse, path), c.Close())
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("%w: %s: %w", ErrInUse, path, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("endpoint: remove the stale socket: %w", err)
	}
	return nil
}

// capped bounds the open connections of a listener, and those of one process:
// one too many is closed at once, so that a flood costs the others nothing. It
// logs when it begins to.
type capped struct {
	net.Listener
	most, each int
	pid        func(*net.UnixConn) int // 0 = not known
	log        *slog.Logger
	full       bool // Accept is called by one goroutine

	mu   sync.Mutex
	open int
	by   map[int]int // by process
}

func newCapped(lis net.Listener, most, each int, log *slog.Logger) *capped {
	return &capped{Listener: lis, most: most, each: each, pid: peerPID, log: log, by: map[int]int{}}
}

// Accept implements net.Listener.
func (l *capped) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		u, ok := c.(*net.UnixConn)
		if !ok {
			return nil, errors.Join(fmt.Errorf("endpoint: a %T on a unix listener", c), c.Close())
		}
		pid := l.pid(u)
		if l.enter(pid) {
			l.full = false
			return &cappedConn{UnixConn: u, release: sync.OnceFunc(func() { l.leave(pid) })}, nil
		}
		if !l.full {
			l.log.Warn("refused a connection: too many are open", "limit", l.most, "of one process", l.each, "process", pid)
		}
		l.full = true
		_ = c.Close() // nothing was said on it
	}
}

func (l *capped) enter(pid int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open >= l.most || pid != 0 && l.by[pid] >= l.each {
		return false
	}
	l.open++
	l.by[pid]++
	return true
}

func (l *capped) leave(pid int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open--
	if l.by[pid]--; l.by[pid] == 0 {
		delete(l.by, pid)
	}
}

type cappedConn struct {
	*net.UnixConn
	release func()
}

// Close implements net.Conn.
func (c *cappedConn) Close() error {
	defer c.release()
	return c.UnixConn.Close()
}
