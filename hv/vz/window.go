package vz

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/arcboxlabs/arcbox-engine/hv"
	"github.com/arcboxlabs/arcbox-engine/hv/vsock"
)

const (
	windowBytes = 256 << 10 // that wait for a reader; as many as a guest's own window
	chunkBytes  = 16 << 10
	stallTime   = 10 * time.Second // that a window may be full
)

// conn is a connection to the guest whose bytes are taken from the framework at
// once, as long as the window has room. Writes go to the framework's socket as
// they are.
type conn struct {
	stream
	cid   hv.CID
	stall time.Duration
	gone  func(*conn) // called once, when it is closed

	mu     sync.Mutex
	held   bytes.Buffer // what was taken, and not read yet
	err    error        // why there is no more
	deaf   bool         // what comes is thrown away, by CloseRead
	closed bool
	change chan struct{} // closed, and made anew, at every change
	late   *time.Timer   // of the read deadline
	passed bool          // it has
	set    int           // which setting late belongs to
}

// newConn reads nothing before fill. gone hears of its end.
func newConn(s stream, cid hv.CID, stall time.Duration, gone func(*conn)) *conn {
	return &conn{stream: s, cid: cid, stall: stall, gone: gone, change: make(chan struct{})}
}

// LocalAddr is the host's end.
func (c *conn) LocalAddr() net.Addr { return vsock.Addr{CID: hv.CIDHost, Port: c.Local} }

// RemoteAddr is the guest's end.
func (c *conn) RemoteAddr() net.Addr { return vsock.Addr{CID: c.cid, Port: c.Remote} }

func (c *conn) fail(op string, err error) error {
	return &net.OpError{Op: op, Net: "vsock", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}

// changed wakes who waits; mu is held.
func (c *conn) changed() {
	close(c.change)
	c.change = make(chan struct{})
}

// fill takes what the guest sends until it ends, or nobody reads it for too long.
func (c *conn) fill() {
	chunk := make([]byte, chunkBytes)
	for {
		n, err := c.Conn.Read(chunk)
		c.mu.Lock()
		if c.err == nil && !c.closed && !c.deaf {
			_, _ = c.held.Write(chunk[:n])
		}
		if err != nil && c.err == nil {
			c.err = err
		}
		c.changed()
		over := c.err != nil || c.closed
		c.mu.Unlock()
		if over || !c.room() {
			return
		}
	}
}

// room waits for it. A stream that waits too long is reset: it would hold up all
// others of this VM.
func (c *conn) room() bool {
	var stalled <-chan time.Time
	for {
		c.mu.Lock()
		held, over, change := c.held.Len(), c.closed || c.err != nil, c.change
		c.mu.Unlock()
		switch {
		case over:
			return false
		case held < windowBytes:
			return true
		case stalled == nil:
			t := time.NewTimer(c.stall)
			defer t.Stop()
			stalled = t.C
		}
		select {
		case <-change:
		case <-stalled:
			c.reset()
			return false
		}
	}
}

// reset ends it at once, with what nobody read.
func (c *conn) reset() {
	c.mu.Lock()
	c.held, c.err = bytes.Buffer{}, os.NewSyscallError("recv", syscall.ECONNRESET)
	c.changed()
	c.mu.Unlock()
	_ = c.Conn.Close()
}

// Read reads what the guest sent, before it reports how the guest ended.
func (c *conn) Read(p []byte) (int, error) {
	for {
		c.mu.Lock()
		switch {
		case c.closed:
			c.mu.Unlock()
			return 0, c.fail("read", net.ErrClosed)
		case c.passed:
			c.mu.Unlock()
			return 0, c.fail("read", os.ErrDeadlineExceeded)
		case len(p) == 0:
			c.mu.Unlock()
			return 0, nil
		case c.held.Len() > 0:
			n, _ := c.held.Read(p) // it has some
			if c.held.Len() == 0 && c.held.Cap() > chunkBytes {
				c.held = bytes.Buffer{} // what is idle holds nothing
			}
			c.changed()
			c.mu.Unlock()
			return n, nil
		case c.deaf || errors.Is(c.err, io.EOF):
			c.mu.Unlock()
			return 0, io.EOF
		case c.err != nil:
			err := c.err
			c.mu.Unlock()
			return 0, c.fail("read", err)
		}
		change := c.change
		c.mu.Unlock()
		<-change
	}
}

// CloseRead throws away what the guest sent and sends: it is read on, for the
// others' sake.
func (c *conn) CloseRead() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return c.fail("close read", net.ErrClosed)
	}
	c.deaf, c.held = true, bytes.Buffer{}
	c.changed()
	return nil
}

// CloseWrite tells the guest that nothing more comes.
func (c *conn) CloseWrite() error { return c.stream.CloseWrite() }

// Close ends both directions, and who waits for them.
func (c *conn) Close() error {
	c.mu.Lock()
	again := c.closed
	c.closed, c.held = true, bytes.Buffer{}
	if c.late != nil {
		c.late.Stop()
	}
	c.changed()
	c.mu.Unlock()
	if again {
		return c.fail("close", net.ErrClosed)
	}
	err := c.Conn.Close()
	c.gone(c)
	return err
}

// SetDeadline sets both deadlines.
func (c *conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// SetReadDeadline bounds Read, also one that is under way.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return c.fail("set deadline", net.ErrClosed)
	}
	if c.late != nil {
		c.late.Stop()
		c.late = nil
	}
	c.set++
	wait := time.Until(t)
	c.passed = !t.IsZero() && wait <= 0
	if !t.IsZero() && wait > 0 {
		set := c.set
		c.late = time.AfterFunc(wait, func() { c.expire(set) })
	}
	c.changed()
	return nil
}

// expire is the read deadline's, unless another was set meanwhile.
func (c *conn) expire(set int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.set == set {
		c.passed = true
		c.changed()
	}
}
