package vsock

import (
	"net"
	"sync"
)

// Listener hands out connections that come some other way than through a Device: who
// has one offers it.
type Listener struct {
	at   Addr
	gone func()

	mu     sync.Mutex
	closed bool
	conns  chan net.Conn
}

// NewListener listens at an address, and keeps as many connections as backlog that
// nobody has accepted yet. gone is called once, when it is closed.
func NewListener(at Addr, backlog int, gone func()) *Listener {
	return &Listener{at: at, gone: gone, conns: make(chan net.Conn, backlog)}
}

// Offer queues a connection. It is refused, and stays the caller's, where the listener
// is closed or its backlog is full.
func (l *Listener) Offer(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	select {
	case l.conns <- c:
		return true
	default:
		return false
	}
}

// Accept waits for a connection.
func (l *Listener) Accept() (net.Conn, error) {
	c, ok := <-l.conns
	if !ok {
		return nil, &net.OpError{Op: "accept", Net: network, Addr: l.at, Err: net.ErrClosed}
	}
	return c, nil
}

// Close ends it, and the connections that nobody has accepted.
func (l *Listener) Close() error {
	l.mu.Lock()
	first := !l.closed
	if l.closed = true; first {
		close(l.conns)
	}
	l.mu.Unlock()
	if first {
		l.gone()
	}
	for c := range l.conns {
		_ = c.Close()
	}
	return nil
}

// Addr is where it listens.
func (l *Listener) Addr() net.Addr { return l.at }
