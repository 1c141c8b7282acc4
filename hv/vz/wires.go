package vz

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// ends are both sides of a VM's wires.
type ends struct {
	theirs       wires
	console, log *os.File
	network      *net.UnixConn // nil = no network
}

// newEnds makes them all, or none. Where there is a network, frame is the longest
// that it carries.
func newEnds(network bool, frame int) (*ends, error) {
	e := &ends{}
	if err := e.open(network, frame); err != nil {
		e.hangUp()
		e.close()
		return nil, fmt.Errorf("hv/vz: wires: %w", err)
	}
	return e, nil
}

func (e *ends) open(network bool, frame int) (err error) {
	if e.theirs.Null, err = os.Open(os.DevNull); err != nil {
		return err
	}
	if e.console, e.theirs.Console, err = os.Pipe(); err != nil {
		return err
	}
	if e.log, e.theirs.Log, err = os.Pipe(); err != nil {
		return err
	}
	if network {
		e.network, e.theirs.Network, err = datagrams(frame)
	}
	return err
}

// hangUp closes the framework's ends: what reads ours gets to its end.
func (e *ends) hangUp() { closeAll(e.theirs.Null, e.theirs.Console, e.theirs.Log, e.theirs.Network) }

// close closes ours.
func (e *ends) close() {
	closeAll(e.console, e.log)
	if e.network != nil {
		_ = e.network.Close()
	}
}

func closeAll(files ...*os.File) {
	for _, f := range files {
		if f != nil {
			_ = f.Close()
		}
	}
}

// What the framework asks of a network's socket: it drops what finds no room, and
// wants to receive at least twice what it sends.
const (
	sendBytes    = 1 << 20
	receiveBytes = 4 << 20
)

// datagrams is a pair of connected sockets that carry a frame each. Their buffers
// are as large as the system lets them be, and no smaller than a frame.
func datagrams(frame int) (*net.UnixConn, *os.File, error) {
	syscall.ForkLock.RLock()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
	if err == nil {
		unix.CloseOnExec(fds[0])
		unix.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "network"), os.NewFile(uintptr(fds[1]), "network")
	defer func() { _ = ours.Close() }()
	for _, fd := range fds {
		err = errors.Join(err, buffer(fd, unix.SO_SNDBUF, sendBytes, frame), buffer(fd, unix.SO_RCVBUF, receiveBytes, frame))
	}
	var c net.Conn
	if err == nil {
		c, err = net.FileConn(ours) // a copy
	}
	if err != nil {
		_ = theirs.Close()
		return nil, nil, err
	}
	return c.(*net.UnixConn), theirs, nil
}

// buffer asks for want bytes, then for less, but not for less than least.
func buffer(fd, option, want, least int) error {
	for ; ; want /= 2 {
		err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, max(want, least))
		if err == nil || want <= least {
			return os.NewSyscallError("setsockopt", err)
		}
	}
}
