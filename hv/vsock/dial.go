package vsock

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"

	"github.com/arcboxlabs/arcbox-engine/hv"
)

const (
	network   = "vsock"
	anyPort   = 0xFFFFFFFF // no port, but the wish for one
	firstPort = 1 << 30    // of the host's ports for dials
)

// Addr is one end of a connection.
type Addr struct {
	CID  hv.CID
	Port uint32
}

// Network is "vsock".
func (a Addr) Network() string { return network }

// String is the CID and the port, as in 3:1024.
func (a Addr) String() string {
	return strconv.FormatUint(uint64(a.CID), 10) + ":" + strconv.FormatUint(uint64(a.Port), 10)
}

// key tells a guest's connections apart: the CIDs are always the same.
type key struct {
	host, guest uint32
}

func (k key) local() Addr            { return Addr{CID: hv.CIDHost, Port: k.host} }
func (k key) remote(cid hv.CID) Addr { return Addr{CID: cid, Port: k.guest} }

// Dial connects to a port of the guest. It waits for the guest's driver, as
// long as ctx allows. A port on which nobody listens is refused at once
// (ECONNREFUSED). The connection has CloseWrite and CloseRead.
func (d *Device) Dial(ctx context.Context, port uint32) (net.Conn, error) {
	c, err := d.dial(ctx, port)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Addr: Addr{CID: d.cid, Port: port}, Err: err}
	}
	return c, nil
}

func (d *Device) dial(ctx context.Context, port uint32) (*conn, error) {
	if port == anyPort {
		return nil, fmt.Errorf("port %d is no port: %w", uint32(port), syscall.EINVAL)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.awaitUp(ctx); err != nil {
		return nil, err
	}
	c, err := d.open(port)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		c.wake()
	})
	defer stop()
	d.pump()
	for c.state == stateConnecting && ctx.Err() == nil {
		c.writable.Wait()
	}
	if err := c.connected(ctx); err != nil {
		c.letGo()
		return nil, err
	}
	return c, nil
}

// connected is how a dial ended.
func (c *conn) connected(ctx context.Context) error {
	switch {
	case c.d.ended && c.err != nil:
		return hv.ErrGone
	case c.err != nil && !c.answered():
		return os.NewSyscallError("connect", c.err)
	case c.state == stateConnecting:
		c.drop(ctx.Err(), true)
		c.d.pump()
		return ctx.Err()
	}
	// It may have been shut down already: then it is there to be read.
	return nil
}

// answered tells whether the guest took the connection, whatever it did then.
func (c *conn) answered() bool { return c.peerShut != 0 || c.in.n > 0 }

// awaitUp waits for the guest's driver.
func (d *Device) awaitUp(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.up.Broadcast()
	})
	defer stop()
	for {
		switch {
		case d.ended:
			return hv.ErrGone
		case ctx.Err() != nil:
			return ctx.Err()
		case d.running():
			return nil
		}
		d.up.Wait()
	}
}

// open makes a connection that asks the guest for its port.
func (d *Device) open(port uint32) (*conn, error) {
	if d.full() {
		return nil, fmt.Errorf("%d connections are open, and no more are allowed: %w", d.o.MaxConns, syscall.ENOBUFS)
	}
	// The table is smaller than the range, so this ends.
	k := key{guest: port}
	for {
		d.lastPort++
		if d.lastPort < firstPort || d.lastPort == anyPort {
			d.lastPort = firstPort
		}
		k.host = d.lastPort
		if d.table[k] == nil && d.listeners[k.host] == nil {
			break
		}
	}
	c := d.add(k)
	c.owe(oweRequest)
	return c, nil
}

// listener takes the guest's connections to a port.
type listener struct {
	d       *Device
	port    uint32
	came    sync.Cond
	backlog []*conn
	closed  bool
}

// Listen takes the guest's connections to a port of the host.
func (d *Device) Listen(port uint32) (net.Listener, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var err error
	switch {
	case d.ended:
		err = hv.ErrGone
	case port == anyPort:
		err = fmt.Errorf("port %d is no port: %w", uint32(port), syscall.EINVAL)
	case d.listeners[port] != nil:
		err = os.NewSyscallError("bind", syscall.EADDRINUSE)
	}
	l := &listener{d: d, port: port}
	if err != nil {
		return nil, l.fail("listen", err)
	}
	l.came.L = &d.mu
	d.listeners[port] = l
	return l, nil
}

func (l *listener) fail(op string, err error) error {
	return &net.OpError{Op: op, Net: network, Addr: l.Addr(), Err: err}
}

// Addr is the host's CID and the port.
func (l *listener) Addr() net.Addr { return Addr{CID: hv.CIDHost, Port: l.port} }

// Accept returns the guest's next connection.
func (l *listener) Accept() (net.Conn, error) {
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	for len(l.backlog) == 0 && !l.closed {
		l.came.Wait()
	}
	if l.closed {
		return nil, l.fail("accept", net.ErrClosed)
	}
	c := l.backlog[0]
	l.backlog[0], l.backlog = nil, l.backlog[1:]
	return c, nil
}

// Close frees the port and resets what was not accepted.
func (l *listener) Close() error {
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	if l.closed {
		return l.fail("close", net.ErrClosed)
	}
	l.shut()
	l.d.pump()
	return nil
}

func (l *listener) shut() {
	l.closed = true
	delete(l.d.listeners, l.port)
	l.empty()
	l.came.Broadcast()
}

// empty ends what was not accepted.
func (l *listener) empty() {
	for _, c := range l.backlog {
		c.drop(syscall.ECONNRESET, true)
		c.letGo()
	}
	l.backlog = nil
}
