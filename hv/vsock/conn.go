package vsock

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// connState is where a connection in the table is.
type connState int

const (
	stateConnecting connState = iota // REQUEST is owed or was sent
	stateOpen
	stateClosing // by our Close; waits for the guest's RST
	stateDying   // only owes the guest an RST
	stateGone    // not in the table
)

// owed are the packets that a connection must send, besides its data.
type owed uint8

const (
	oweRequest owed = 1 << iota
	oweResponse
	oweCredit
	oweShutdown
	oweReset
)

// conn is one connection. All but wmu is guarded by the device's lock.
type conn struct {
	d   *Device
	key key

	wmu sync.Mutex // held by a Write: one at a time, each in one piece

	state  connState
	err    error // why there is nothing more; set with stateDying or stateGone
	closed bool  // by our Close, or never in the host's hands
	held   bool  // gone from the table and not closed: counted in d.held
	owes   owed
	queued bool // in d.ready
	asked  bool // a REQUEST went out or came: the guest knows of us

	ownShut, peerShut  uint32
	in                 buffer
	alloc              uint32 // what in may hold
	fwd, told          uint32 // bytes read, and what the guest knows of it
	out                []byte // what the Write under way has left
	sentBytes          uint32
	peerAlloc, peerFwd uint32

	readable, writable sync.Cond
	rd, wd             deadline
	linger             *time.Timer // of stateClosing
}

// deadline ends the calls of one direction.
type deadline struct {
	timer  *time.Timer
	passed bool
	set    int // which setting the timer belongs to
}

// LocalAddr is the host's end.
func (c *conn) LocalAddr() net.Addr { return c.key.local() }

// RemoteAddr is the guest's end.
func (c *conn) RemoteAddr() net.Addr { return c.key.remote(c.d.cid) }

func (c *conn) fail(op string, err error) error {
	return &net.OpError{Op: op, Net: network, Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}

// Read reads what the guest sent, before it reports how the guest ended.
func (c *conn) Read(p []byte) (int, error) {
	c.d.mu.Lock()
	defer c.d.mu.Unlock()
	for {
		switch {
		case c.closed:
			return 0, c.fail("read", net.ErrClosed)
		case c.rd.passed:
			return 0, c.fail("read", os.ErrDeadlineExceeded)
		case len(p) == 0:
			return 0, nil
		case c.in.n > 0:
			n := c.in.read(p, &c.d.pool)
			c.fwd += uint32(n)
			c.tell()
			c.d.pump()
			return n, nil
		case c.ownShut&shutReceive != 0 || c.peerShut&shutSend != 0:
			return 0, io.EOF
		case c.err != nil:
			return 0, c.fail("read", os.NewSyscallError("recv", c.err))
		}
		c.readable.Wait()
	}
}

// Write returns when the last byte is in the guest's memory, which is not to
// say that anybody there read it.
func (c *conn) Write(p []byte) (int, error) {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	c.d.mu.Lock()
	defer c.d.mu.Unlock()
	c.out = p
	defer func() { c.out = nil }()
	for {
		if err := c.writeError(); err != nil {
			return len(p) - len(c.out), c.fail("write", err)
		}
		if len(c.out) == 0 {
			return len(p), nil
		}
		c.enqueue()
		c.d.pump()
		if len(c.out) > 0 && c.writeError() == nil {
			c.writable.Wait()
		}
	}
}

// writeError is why no byte can be sent, or nil.
func (c *conn) writeError() error {
	switch {
	case c.closed:
		return net.ErrClosed
	case c.wd.passed:
		return os.ErrDeadlineExceeded
	case (c.ownShut&shutSend | c.peerShut&shutReceive) != 0:
		return os.NewSyscallError("send", syscall.EPIPE)
	case c.err != nil:
		return os.NewSyscallError("send", c.err)
	}
	return nil
}

// CloseWrite tells the guest that it has everything. Reading goes on.
func (c *conn) CloseWrite() error { return c.shutdown(shutSend) }

// CloseRead tells the guest to send no more, and forgets what it sent.
func (c *conn) CloseRead() error { return c.shutdown(shutReceive) }

func (c *conn) shutdown(flag uint32) error {
	c.d.mu.Lock()
	defer c.d.mu.Unlock()
	if c.closed {
		return c.fail("shutdown", net.ErrClosed)
	}
	if c.ownShut&flag != 0 {
		return nil
	}
	c.ownShut |= flag
	if flag == shutReceive {
		c.fwd += uint32(c.in.n)
		c.in.clear(&c.d.pool)
	}
	c.wake()
	if c.state == stateOpen {
		c.owe(oweShutdown)
		c.d.pump()
	}
	return nil
}

// Close ends both directions. It does not wait for the guest.
func (c *conn) Close() error {
	c.d.mu.Lock()
	defer c.d.mu.Unlock()
	if c.closed {
		return c.fail("close", net.ErrClosed)
	}
	c.rd.clear()
	c.wd.clear()
	c.fwd += uint32(c.in.n)
	c.letGo()
	c.wake()
	if c.state != stateOpen {
		return nil
	}
	c.state, c.ownShut = stateClosing, shutBoth
	c.owe(oweShutdown)
	c.linger = time.AfterFunc(c.d.o.CloseTimeout, c.giveUp)
	c.d.pump()
	return nil
}

// giveUp resets a connection whose guest did not agree to its end in time.
func (c *conn) giveUp() {
	c.d.mu.Lock()
	defer c.d.mu.Unlock()
	if c.state == stateClosing {
		c.drop(syscall.ECONNRESET, true)
		c.d.pump()
	}
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
	return c.setDeadline(&c.rd, &c.readable, t)
}

// SetWriteDeadline bounds Write, also one that is under way.
func (c *conn) SetWriteDeadline(t time.Time) error {
	return c.setDeadline(&c.wd, &c.writable, t)
}

func (c *conn) setDeadline(dl *deadline, wake *sync.Cond, t time.Time) error {
	c.d.mu.Lock()
	defer c.d.mu.Unlock()
	if c.closed {
		return c.fail("set deadline", net.ErrClosed)
	}
	dl.clear()
	if t.IsZero() {
		return nil
	}
	left := time.Until(t)
	if left <= 0 {
		dl.passed = true
		wake.Broadcast()
		return nil
	}
	set := dl.set
	dl.timer = time.AfterFunc(left, func() {
		c.d.mu.Lock()
		defer c.d.mu.Unlock()
		if dl.set == set { // else Stop came too late
			dl.passed = true
			wake.Broadcast()
		}
	})
	return nil
}

func (dl *deadline) clear() {
	if dl.timer != nil {
		dl.timer.Stop()
		dl.timer = nil
	}
	dl.passed = false
	dl.set++
}

func (c *conn) wake() {
	c.readable.Broadcast()
	c.writable.Broadcast()
}
