package files

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"
)

// ListenSocket makes a unix socket for its owner alone. A socket that nobody listens
// at is in nobody's way; anything else that is there stays.
func ListenSocket(path string) (net.Listener, error) {
	if err := sweep(path); err != nil {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// sweep removes a socket that nobody listens on, and nothing else.
func sweep(path string) error {
	fi, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if fi.Mode().Type() != os.ModeSocket {
		return errors.New("something that is no socket is there")
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		_ = c.Close()
		return errors.New("another process listens there")
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return err
	}
	return os.Remove(path)
}
