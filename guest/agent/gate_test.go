package agent

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// pipeListener hands out the far ends of pipes, whose deadlines follow the
// bubble's clock.
type pipeListener struct {
	conns  chan net.Conn
	errs   chan error
	closed chan struct{}
	dialed []net.Conn
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), errs: make(chan error), closed: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case err := <-l.errs:
		return nil, err
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	close(l.closed)
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

// dial returns once the gate has done with the connection what it does at once,
// so that places are given away in the order of the dials.
func (l *pipeListener) dial() net.Conn {
	ours, theirs := net.Pipe()
	l.dialed = append(l.dialed, ours)
	l.conns <- theirs
	synctest.Wait()
	return ours
}

// client is who has shown the token and begins to talk.
func (l *pipeListener) client(t *testing.T) net.Conn {
	t.Helper()
	c := l.dial()
	if err := wire.SendPreface(c, testToken); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, "PRI * HT"); err != nil {
		t.Fatal(err)
	}
	return c
}

var testToken = bytes.Repeat([]byte{'t'}, wire.TokenSize)

// inGate runs a test of a gate in a bubble; passed gets what it lets through.
func inGate(t *testing.T, admit func(net.Conn) error, test func(t *testing.T, l *pipeListener, passed <-chan net.Conn, log *bytes.Buffer)) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipeListener()
		var log bytes.Buffer
		g := newGate(l, testToken, admit, map[string]func(net.Conn){wire.Beside: func(c net.Conn) { c.Close() }}, slog.New(slog.NewTextHandler(&log, nil)))
		passed := make(chan net.Conn, maxOpen+1)
		go func() {
			for {
				c, err := g.Accept()
				if err != nil {
					close(passed)
					return
				}
				passed <- c
			}
		}()
		test(t, l, passed, &log)
		g.Close()
		for _, c := range l.dialed { // or what the gate still waits for outlives a test that fails
			c.Close()
		}
		for c := range passed {
			c.Close()
		}
	})
}

// ended reports whether a connection's far end is closed.
func ended(c net.Conn) bool {
	_, err := c.Read(make([]byte, 1))
	return errors.Is(err, io.EOF)
}

func TestGateLetsTheTokenThrough(t *testing.T) {
	inGate(t, nil, func(t *testing.T, l *pipeListener, passed <-chan net.Conn, _ *bytes.Buffer) {
		c := l.client(t)
		far := <-passed
		begun := make([]byte, 8)
		if _, err := io.ReadFull(far, begun); err != nil || string(begun) != "PRI * HT" {
			t.Errorf("gRPC gets %q, %v", begun, err)
		}
		go io.WriteString(far, "x") // the read tells
		time.Sleep(time.Hour)       // virtual: no deadline is left on it
		if _, err := c.Read(make([]byte, 1)); err != nil {
			t.Error(err)
		}
		far.Close()
	})
}

func TestGateRefuses(t *testing.T) {
	inGate(t, nil, func(t *testing.T, l *pipeListener, passed <-chan net.Conn, log *bytes.Buffer) {
		wrong := bytes.Repeat([]byte{'w'}, wire.TokenSize)
		for range 5 {
			if err := wire.SendPreface(l.dial(), wrong); err == nil {
				t.Error("a wrong token is welcome")
			}
		}
		synctest.Wait()
		if n := strings.Count(log.String(), "refused the token"); n != 1 {
			t.Errorf("%d lines logged, want 1: %s", n, log)
		}
		if len(passed) != 0 {
			t.Error("something got through")
		}
	})
}

// TestGateIsNotHeldUp has peers that say nothing: others get through, the
// silent are dropped in time, and no more of them are kept than the bound.
func TestGateIsNotHeldUp(t *testing.T) {
	inGate(t, nil, func(t *testing.T, l *pipeListener, passed <-chan net.Conn, _ *bytes.Buffer) {
		var silent []net.Conn
		for range maxPending - 1 {
			silent = append(silent, l.dial())
		}
		l.client(t)
		(<-passed).Close()
		synctest.Wait()
		silent = append(silent, l.dial())
		if !ended(l.dial()) {
			t.Error("one over the bound is kept")
		}
		begun := time.Now()
		for _, c := range silent {
			if !ended(c) {
				t.Error("a silent peer is kept")
			}
		}
		if took := time.Since(begun); took != prefaceTime {
			t.Errorf("dropped after %v, want %v", took, prefaceTime)
		}
	})
}

func TestGateBoundsOpenConnections(t *testing.T) {
	inGate(t, nil, func(t *testing.T, l *pipeListener, passed <-chan net.Conn, _ *bytes.Buffer) {
		for range maxOpen {
			l.client(t)
			synctest.Wait() // it has its place, and is pending no more, before one more asks
		}
		over := l.dial()
		if err := wire.SendPreface(over, testToken); err != nil || !ended(over) {
			t.Error("one over the bound is kept")
		}
		far := <-passed
		far.Close()
		far.Close() // gives back one place only
		l.client(t)
		synctest.Wait()
		over = l.dial()
		if err := wire.SendPreface(over, testToken); err != nil || !ended(over) {
			t.Error("a second place was given back")
		}
	})
}

func TestGateAdmitsTheHostOnly(t *testing.T) {
	refuse := func(net.Conn) error { return errPeer }
	inGate(t, refuse, func(t *testing.T, l *pipeListener, _ <-chan net.Conn, log *bytes.Buffer) {
		if !ended(l.dial()) {
			t.Error("a stranger is kept")
		}
		if !strings.Contains(log.String(), errPeer.Error()) {
			t.Errorf("log: %s", log)
		}
	})
}

func TestGateOutlivesErrorsOfAccept(t *testing.T) {
	inGate(t, nil, func(t *testing.T, l *pipeListener, passed <-chan net.Conn, _ *bytes.Buffer) {
		for range 3 {
			l.errs <- errors.New("no descriptors")
		}
		l.client(t)
	})
}

// TestGateDropsWhoSaysNothingMore has peers that show the token and are silent
// then: they hold a place no longer than others.
func TestGateDropsWhoSaysNothingMore(t *testing.T) {
	inGate(t, nil, func(t *testing.T, l *pipeListener, passed <-chan net.Conn, _ *bytes.Buffer) {
		c := l.dial()
		if err := wire.SendPreface(c, testToken); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		if !ended(c) || time.Since(begun) != prefaceTime {
			t.Errorf("kept for %v, want %v", time.Since(begun), prefaceTime)
		}
		if len(passed) != 0 {
			t.Error("gRPC got it")
		}
	})
}
