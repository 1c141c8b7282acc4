package endpoint

import (
	"errors"
	"net"
	"os"
	"syscall"
)

// unixPair is two ends of one connection.
func unixPair() (a, b *net.UnixConn, err error) {
	syscall.ForkLock.RLock()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fds[0])
		syscall.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, err
	}
	var ends [2]net.Conn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "pair") //nolint:gosec // descriptors are not negative
		var failed error
		ends[i], failed = net.FileConn(f)
		err = errors.Join(err, failed, f.Close())
	}
	if err != nil {
		for _, c := range ends {
			if c != nil {
				_ = c.Close()
			}
		}
		return nil, nil, err
	}
	return ends[0].(*net.UnixConn), ends[1].(*net.UnixConn), nil
}
