package vz

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/arcboxlabs/arcbox-engine/hv"
	"github.com/arcboxlabs/arcbox-engine/hv/vsock"
)

const (
	maxConns   = 256 // of one VM: a window of each may be full
	maxDialing = 64  // that the framework has not answered
	backlog    = 64  // of the guest's connections that nobody has accepted
)

// errBusy is the answer where there is no room.
var errBusy = errors.New("hv/vz: too many connections to the guest")

// sockets are the connections of one VM.
type sockets struct {
	machine machine
	cid     hv.CID
	stall   time.Duration
	dialing chan struct{} // one token a call that the framework has not answered

	mu    sync.Mutex
	over  bool
	conns map[*conn]struct{}
	ports map[uint32]*vsock.Listener // nil = nobody listens any more
	ended chan struct{}              // closed with over
	fills sync.WaitGroup
}

func newSockets(m machine, cid hv.CID, stall time.Duration) *sockets {
	return &sockets{
		machine: m, cid: cid, stall: stall, dialing: make(chan struct{}, maxDialing),
		conns: map[*conn]struct{}{}, ports: map[uint32]*vsock.Listener{}, ended: make(chan struct{}),
	}
}

// dial connects. The framework's call goes on where ctx is over, and what it
// brings then is closed.
func (s *sockets) dial(ctx context.Context, port uint32) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("hv/vz: dial: %w", err)
	}
	if s.isOver() {
		return nil, fmt.Errorf("hv/vz: dial: %w", hv.ErrGone)
	}
	select {
	case s.dialing <- struct{}{}:
	default:
		return nil, fmt.Errorf("%w: %d wait for an answer", errBusy, maxDialing)
	}
	type answer struct {
		stream stream
		err    error
	}
	answers, left := make(chan answer), make(chan struct{})
	defer close(left)
	go func() {
		st, err := s.machine.Connect(port)
		<-s.dialing
		select {
		case answers <- answer{st, err}:
		case <-left:
			if err == nil {
				_ = st.Close()
			}
		}
	}()
	select {
	case a := <-answers:
		if a.err != nil {
			return nil, s.refused(port, a.err)
		}
		return s.admit(a.stream)
	case <-s.ended:
		return nil, s.refused(port, nil)
	case <-ctx.Done():
		return nil, fmt.Errorf("hv/vz: dial port %d: %w", port, ctx.Err())
	}
}

// refused is why a dial failed. That of a VM that has ended meanwhile says so.
func (s *sockets) refused(port uint32, err error) error {
	if err == nil || s.isOver() {
		return fmt.Errorf("hv/vz: dial port %d: %w", port, hv.ErrGone)
	}
	return fmt.Errorf("hv/vz: dial port %d: %w", port, refusal(err))
}

// admit makes a connection of a stream, while there is room.
func (s *sockets) admit(st stream) (net.Conn, error) {
	c := newConn(st, s.cid, s.stall, s.drop)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.over:
		_ = st.Close()
		return nil, fmt.Errorf("hv/vz: connection: %w", hv.ErrGone)
	case len(s.conns) >= maxConns:
		_ = st.Close()
		return nil, fmt.Errorf("%w: %d are open", errBusy, maxConns)
	}
	s.conns[c] = struct{}{}
	s.fills.Go(c.fill)
	return c, nil
}

func (s *sockets) drop(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

func (s *sockets) isOver() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.over
}

// end resets every connection, and ends every listener.
func (s *sockets) end() {
	s.mu.Lock()
	if !s.over {
		s.over = true
		close(s.ended)
	}
	conns, ports := s.conns, s.ports
	s.conns, s.ports = nil, nil
	s.mu.Unlock()
	for c := range conns {
		c.reset()
	}
	for _, l := range ports {
		if l != nil {
			_ = l.Close()
		}
	}
	s.fills.Wait()
}

// listen takes the guest's connections to a port. The framework listens there for
// the rest of the VM: its own listeners can't be closed while a connection comes.
func (s *sockets) listen(port uint32) (net.Listener, error) {
	l, known, err := s.reserve(port)
	switch {
	case err != nil:
		return nil, err
	case known:
		return l, nil
	}
	// Not under the lock: nothing else may wait for the framework.
	if err := s.machine.Accept(port, func(st stream) { s.come(port, st) }); err != nil {
		s.mu.Lock()
		delete(s.ports, port)
		s.mu.Unlock()
		_ = l.Close()
		return nil, fmt.Errorf("hv/vz: listen on port %d: %w", port, err)
	}
	return l, nil
}

// reserve makes a port's listener. It is known where the framework listens there.
func (s *sockets) reserve(port uint32) (l *vsock.Listener, known bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, known := s.ports[port]
	switch {
	case s.over:
		return nil, false, fmt.Errorf("hv/vz: listen: %w", hv.ErrGone)
	case old != nil:
		return nil, false, fmt.Errorf("hv/vz: listen on port %d: %w", port, syscall.EADDRINUSE)
	}
	l = vsock.NewListener(vsock.Addr{CID: hv.CIDHost, Port: port}, backlog, func() { s.free(port, l) })
	s.ports[port] = l
	return l, known, nil
}

// free lets a port be listened on again.
func (s *sockets) free(port uint32, l *vsock.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ports[port] == l {
		s.ports[port] = nil
	}
}

// come takes a connection of the guest, which is closed where nobody listens or
// too many wait.
func (s *sockets) come(port uint32, st stream) {
	c, err := s.admit(st)
	if err != nil {
		return
	}
	s.mu.Lock()
	l := s.ports[port]
	s.mu.Unlock()
	if l == nil || !l.Offer(c) {
		_ = c.Close()
	}
}
