package sim

import (
	"net"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// addr is a vsock port, as net.Addr.
type addr string

func (addr) Network() string  { return "sim" }
func (a addr) String() string { return string(a) }

// pair makes two ends of one connection.
func pair() (host, guest *net.UnixConn, err error) {
	syscall.ForkLock.RLock()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fds[0])
		unix.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	ends := [2]*net.UnixConn{}
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "sim")
		c, connErr := net.FileConn(f)
		_ = f.Close()
		if connErr != nil {
			err = connErr
			continue
		}
		ends[i] = c.(*net.UnixConn)
	}
	if err != nil {
		for _, c := range ends {
			if c != nil {
				_ = c.Close()
			}
		}
		return nil, nil, err
	}
	return ends[0], ends[1], nil
}

// listener hands out connections that were made by the other side.
type listener struct {
	name  addr
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
	gone  func()
}

func newListener(name addr, gone func()) *listener {
	return &listener{name: name, conns: make(chan net.Conn, 16), done: make(chan struct{}), gone: gone}
}

// offer is refused when the listener is closed or its backlog is full.
func (l *listener) offer(c net.Conn) bool {
	select {
	case <-l.done:
		return false
	default:
	}
	select {
	case l.conns <- c:
		return true
	default:
		return false
	}
}

// Accept waits for a connection.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case <-l.done:
		return nil, net.ErrClosed
	default:
	}
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close ends it, and the connections that nobody took.
func (l *listener) Close() error {
	l.once.Do(func() {
		close(l.done)
		l.gone()
		for {
			select {
			case c := <-l.conns:
				_ = c.Close()
			default:
				return
			}
		}
	})
	return nil
}

// Addr names the port.
func (l *listener) Addr() net.Addr { return l.name }
