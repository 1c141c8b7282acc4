package vz

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/arcboxlabs/arcbox-engine/hv"
)

// windowed is a connection in the bubble, and the guest's end of it.
func windowed(t *testing.T) (*conn, net.Conn) {
	host, guest := net.Pipe()
	c := newConn(stream{Conn: host, CloseWrite: host.Close, Local: 1, Remote: 2}, 3, stallTime, func(*conn) {})
	go c.fill()
	t.Cleanup(func() {
		_ = c.Close()
		_ = guest.Close()
	})
	return c, guest
}

// The guest is taken what it sends though nobody reads, as much as the window
// holds; then it waits, and who begins to read in time loses nothing.
func TestWindowHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, guest := windowed(t)
		sent := bytes.Repeat([]byte("0123456789abcdef"), 2*windowBytes/16)
		wrote := make(chan error, 1)
		go func() {
			_, err := guest.Write(sent)
			_ = guest.Close()
			wrote <- err
		}()
		synctest.Wait()
		if n := c.held.Len(); n < windowBytes || n > windowBytes+chunkBytes {
			t.Errorf("%d bytes are held", n)
		}
		<-time.After(stallTime - time.Second)
		got, err := io.ReadAll(c)
		if err != nil || !bytes.Equal(got, sent) {
			t.Errorf("%d bytes of %d, %v", len(got), len(sent), err)
		}
		if err := <-wrote; err != nil {
			t.Error(err)
		}
	})
}

// Who reads nothing for too long is cut off, for all others' sake; a window that
// is not full may rest for ever.
func TestWindowThatNobodyReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, guest := windowed(t)
		if _, err := guest.Write([]byte("some")); err != nil {
			t.Fatal(err)
		}
		<-time.After(24 * time.Hour)
		begun := time.Now()
		if _, err := guest.Write(make([]byte, 2*windowBytes)); err == nil {
			t.Error("the guest sent more than a window")
		}
		if took := time.Since(begun); took != stallTime {
			t.Errorf("it was cut off after %s", took)
		}
		if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%d, %v", n, err)
		}
	})
}

// Who wants to read no more holds nobody up either.
func TestCloseRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, guest := windowed(t)
		if _, err := guest.Write([]byte("some")); err != nil {
			t.Fatal(err)
		}
		if err := c.CloseRead(); err != nil {
			t.Fatal(err)
		}
		if _, err := guest.Write(make([]byte, 4*windowBytes)); err != nil {
			t.Error(err)
		}
		if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
			t.Errorf("%d, %v", n, err)
		}
	})
}

func TestReadDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, guest := windowed(t)
		buf := make([]byte, 4)
		begun := time.Now()
		_ = c.SetReadDeadline(begun.Add(time.Minute))
		_ = c.SetReadDeadline(begun.Add(time.Second)) // the last counts
		if _, err := c.Read(buf); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begun) != time.Second {
			t.Errorf("%v after %s", err, time.Since(begun))
		}
		_ = c.SetReadDeadline(time.Now().Add(-time.Second))
		if _, err := c.Read(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%v", err)
		}
		go func() {
			<-time.After(time.Hour)
			_, _ = guest.Write([]byte("late"))
		}()
		_ = c.SetDeadline(time.Time{})
		if n, err := c.Read(buf); n != 4 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		go func() {
			<-time.After(time.Second)
			_ = c.Close()
		}()
		if _, err := c.Read(buf); !errors.Is(err, net.ErrClosed) {
			t.Errorf("read: %v", err)
		}
		if err := c.SetReadDeadline(time.Now()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("set deadline: %v", err)
		}
		if err := c.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("close: %v", err)
		}
	})
}

func TestRaw(t *testing.T) {
	a, b := net.Pipe()
	defer func() { _, _ = a.Close(), b.Close() }()
	if got, err := rawOf(&struct{ rawConn net.Conn }{a}); err != nil || got != a {
		t.Errorf("%v, %v", got, err)
	}
	for _, other := range []any{nil, a, struct{ rawConn net.Conn }{a}, &struct{ rawConn net.Conn }{}, &struct{ rawConn int }{}, &struct{ Conn net.Conn }{a}} {
		if got, err := rawOf(other); err == nil {
			t.Errorf("%T: %v", other, got)
		}
	}
	if _, err := streamOf(a, 1, 2); err == nil {
		t.Error("what can't be closed by halves is taken")
	}
	c := newConn(stream{Conn: b, Local: 1, Remote: 2}, 3, stallTime, nil)
	if l, r := c.LocalAddr().String(), c.RemoteAddr().String(); l != "2:1" || r != "3:2" || hv.CIDHost != 2 {
		t.Errorf("%s, %s", l, r)
	}
}
