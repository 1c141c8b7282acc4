package hvtest

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"time"

	"github.com/arcboxlabs/arcbox-engine/hv"
)

func testDial(s *suite) {
	vm := s.ready()
	s.refused(vm)
	if s.Echo == 0 {
		return
	}
	s.echo(vm)
	s.deadlines(vm)
	s.closing(vm)
}

// connect dials the echo.
func (s *suite) connect(vm hv.VM) net.Conn {
	s.Helper()
	c, err := vm.Dial(s.ctx(), s.Echo)
	if err != nil {
		s.Fatalf("dial of the echo: %v", err)
	}
	s.Cleanup(func() { _ = c.Close() })
	return c
}

// echo: what is sent comes back whole, also beside a connection that nobody
// reads, and a half-close passes there and back.
func (s *suite) echo(vm hv.VM) {
	s.Helper()
	stuck := s.connect(vm)
	_ = stuck.SetDeadline(time.Now().Add(100 * time.Millisecond))
	_, _ = io.Copy(stuck, io.LimitReader(endless{}, 8<<20)) // until the deadline

	c := s.connect(vm)
	_ = c.SetDeadline(time.Now().Add(s.Patience))
	sent := bytes.Repeat([]byte("arcbox: what goes in comes out. "), 32<<10)
	wrote := make(chan error, 1)
	go func() {
		_, err := c.Write(sent)
		if err == nil {
			err = halfClose(c)
		}
		wrote <- err
	}()
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, sent) {
		s.Errorf("echo: %d of %d bytes, equal %v, %v", len(got), len(sent), bytes.Equal(got, sent), err)
	}
	if err := <-wrote; err != nil {
		s.Errorf("echo: write: %v", err)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func halfClose(c net.Conn) error {
	h, ok := c.(interface{ CloseWrite() error })
	if !ok {
		return errors.New("the connection has no CloseWrite")
	}
	return h.CloseWrite()
}

// deadlines: a read that is late fails as such, and the connection goes on.
func (s *suite) deadlines(vm hv.VM) {
	s.Helper()
	c := s.connect(vm)
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		s.Errorf("late read: %v, want os.ErrDeadlineExceeded", err)
	}
	_ = c.SetDeadline(time.Now().Add(s.Patience))
	if _, err := c.Write([]byte("x")); err != nil {
		s.Errorf("write after a late read: %v", err)
	}
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		s.Errorf("read after a late read: %v", err)
	}
	_ = c.SetWriteDeadline(time.Now().Add(-time.Second))
	if _, err := c.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
		s.Errorf("late write: %v, want os.ErrDeadlineExceeded", err)
	}
}

// closing: a close ends a read that waits.
func (s *suite) closing(vm hv.VM) {
	s.Helper()
	c := s.connect(vm)
	done := make(chan error, 1)
	go func() {
		_, err := c.Read(make([]byte, 1))
		done <- err
	}()
	_ = c.Close()
	if err := s.within(done); err == nil {
		s.Error("a read on a closed connection succeeded")
	}
}

// within waits for an error, patiently.
func (s *suite) within(done <-chan error) error {
	s.Helper()
	select {
	case err := <-done:
		return err
	case <-s.ctx().Done():
		s.Fatal("it hangs")
		return nil
	}
}

func testConnectionsEnd(s *suite) {
	if s.Echo == 0 {
		return
	}
	vm := s.ready()
	c := s.connect(vm)
	_ = c.SetDeadline(time.Now().Add(s.Patience))
	if err := vm.Kill(s.ctx()); err != nil {
		s.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		s.Errorf("read from a VM that was killed: %v", err)
	}
	s.exit(vm)
}

func testListen(s *suite) {
	const port = 5000
	vm := s.ready()
	l, err := vm.Listen(port)
	if !s.Driver.Capabilities().Listen {
		if !errors.Is(err, hv.ErrUnsupported) {
			s.Errorf("listen: %v, want hv.ErrUnsupported", err)
		}
		return
	}
	if err != nil {
		s.Fatalf("listen: %v", err)
	}
	if second, err := vm.Listen(port); err == nil {
		_ = second.Close()
		s.Error("a port was listened on twice")
	}
	if s.GuestDial != nil {
		s.fromGuest(vm, l, port)
	}
	done := make(chan error, 1)
	go func() {
		_, err := l.Accept()
		done <- err
	}()
	_ = l.Close()
	if err := s.within(done); !errors.Is(err, net.ErrClosed) {
		s.Errorf("accept after close: %v, want net.ErrClosed", err)
	}
	again, err := vm.Listen(port)
	if err != nil {
		s.Fatalf("listen again: %v", err)
	}
	_ = again.Close()
}

// fromGuest: the guest dials the host, and both speak.
func (s *suite) fromGuest(vm hv.VM, l net.Listener, port uint32) {
	s.Helper()
	guest, err := s.GuestDial(vm, port)
	if err != nil {
		s.Fatalf("the guest's dial: %v", err)
	}
	defer func() { _ = guest.Close() }()
	host, err := l.Accept()
	if err != nil {
		s.Fatalf("accept: %v", err)
	}
	defer func() { _ = host.Close() }()
	for _, way := range [][2]net.Conn{{guest, host}, {host, guest}} {
		_ = way[1].SetReadDeadline(time.Now().Add(s.Patience))
		if _, err := way[0].Write([]byte("hello")); err != nil {
			s.Errorf("write: %v", err)
		}
		got := make([]byte, 5)
		if _, err := io.ReadFull(way[1], got); err != nil || string(got) != "hello" {
			s.Errorf("read: %q, %v", got, err)
		}
	}
	if c, err := s.GuestDial(vm, port+1); err == nil {
		_ = c.Close()
		s.Error("the guest's dial of a port where nobody listens succeeded")
	}
}
