package agent

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// Bounds of connections.
const (
	maxPending  = 16 // that have not shown the token yet
	maxOpen     = 64 // that have
	prefaceTime = 10 * time.Second
	logEvery    = 10 * time.Second // at most one line for each kind of refusal
)

// Why a connection is refused, beside a wrong token.
var (
	errTooMany = errors.New("too many connections")
	errPeer    = errors.New("peer is not the host")
)

// gate is a listener that lets through to gRPC only who has shown the token.
// No peer can hold up another: each shows its token in a goroutine of its own.
// Who begins with one of others' words instead of gRPC is handed to it; without
// others, nobody is listened to before Accept.
type gate struct {
	net.Listener
	token  []byte
	admit  func(net.Conn) error
	others map[string]func(net.Conn)
	log    *slog.Logger

	passed  chan net.Conn
	pending chan struct{}
	open    chan struct{}
	closed  chan struct{}
	once    sync.Once

	mu     sync.Mutex
	logged map[string]time.Time
}

func newGate(l net.Listener, token []byte, admit func(net.Conn) error, others map[string]func(net.Conn), log *slog.Logger) *gate {
	g := &gate{
		Listener: l, token: token, admit: admit, others: others, log: log,
		passed:  make(chan net.Conn),
		pending: make(chan struct{}, maxPending),
		open:    make(chan struct{}, maxOpen),
		closed:  make(chan struct{}),
		logged:  make(map[string]time.Time),
	}
	go g.run()
	return g
}

// Accept returns the next connection that has shown the token.
func (g *gate) Accept() (net.Conn, error) {
	select {
	case c := <-g.passed:
		return c, nil
	case <-g.closed:
		return nil, net.ErrClosed
	}
}

// Close closes the listener below too.
func (g *gate) Close() error {
	g.once.Do(func() { close(g.closed) })
	return g.Listener.Close()
}

// run accepts until the listener is closed. An error of a moment, such as no
// free descriptor, must not end the only way into the guest.
func (g *gate) run() {
	wait := 5 * time.Millisecond
	for {
		c, err := g.Listener.Accept()
		if err == nil {
			wait = 5 * time.Millisecond
			g.take(c)
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			return
		}
		g.refused(err)
		select {
		case <-time.After(wait):
			wait = min(2*wait, time.Second)
		case <-g.closed:
			return
		}
	}
}

func (g *gate) take(c net.Conn) {
	select {
	case g.pending <- struct{}{}:
	default:
		g.refuse(c, errTooMany)
		return
	}
	go func() {
		err := g.check(c)
		<-g.pending
		if err != nil {
			g.refuse(c, err)
			return
		}
		g.pass(c)
	}()
}

// check ends in time also when the gate is closed: the deadline holds.
func (g *gate) check(c net.Conn) error {
	if g.admit != nil {
		if err := g.admit(c); err != nil {
			return err
		}
	}
	if err := c.SetDeadline(time.Now().Add(prefaceTime)); err != nil {
		return err
	}
	return wire.CheckPreface(c, g.token)
}

func (g *gate) pass(c net.Conn) {
	select {
	case g.open <- struct{}{}:
	default:
		g.refuse(c, errTooMany)
		return
	}
	counted := &countedConn{Conn: c, release: func() { <-g.open }}
	if g.others != nil {
		if err := counted.begin(); err != nil {
			_ = counted.Close() // who says nothing more is nobody to tell of
			return
		}
		if other := g.others[string(counted.begun)]; other != nil {
			other(counted)
			return
		}
	}
	select {
	case g.passed <- counted:
	case <-g.closed:
		_ = counted.Close()
	}
}

func (g *gate) refuse(c net.Conn, err error) {
	g.refused(err)
	c.Close()
}

// refused logs each kind of refusal, not each of a flood of them.
func (g *gate) refused(err error) {
	kind := "failed"
	for _, known := range []error{wire.ErrRefused, errTooMany, errPeer} {
		if errors.Is(err, known) {
			kind = known.Error()
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	if last, ok := g.logged[kind]; ok && now.Sub(last) < logEvery {
		return
	}
	g.logged[kind] = now
	g.log.Warn("connection refused", "err", err)
}

// countedConn gives its place back when it is closed.
type countedConn struct {
	net.Conn
	begun   []byte // was read to see what it is for, and is its reader's still
	once    sync.Once
	release func()
}

// begin reads by what the peer begins, under the deadline of its preface, which
// it takes away.
func (c *countedConn) begin() error {
	begun := make([]byte, len(wire.Beside))
	if _, err := io.ReadFull(c.Conn, begun); err != nil {
		return err
	}
	c.begun = begun
	return c.SetDeadline(time.Time{})
}

// Read implements net.Conn.
func (c *countedConn) Read(p []byte) (int, error) {
	if len(c.begun) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.begun)
	c.begun = c.begun[n:]
	return n, nil
}

// Close implements net.Conn.
func (c *countedConn) Close() error {
	err := c.Conn.Close()
	c.leave()
	return err
}

// CloseWrite ends what the peer reads.
func (c *countedConn) CloseWrite() error {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return half.CloseWrite()
}

// leave gives the place back to who waits for one; the connection goes on.
func (c *countedConn) leave() { c.once.Do(c.release) }
