package agent

import (
	"errors"
	"io"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// forwardTo asks an agent for a forward over a connection of its own.
func forwardTo(t *testing.T, a *Agent, protocol, to string) (net.Conn, error) {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		if c, err := l.Accept(); err == nil {
			a.forward(c)
		}
	}()
	c, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	return c, wire.AskForward(c, protocol, to)
}

func TestForward(t *testing.T) {
	a := &Agent{forwards: make(chan struct{}, maxForwards)}
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer echo.Close()
	path := filepath.Join(t.TempDir(), "s")
	other, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	for _, l := range []net.Listener{echo, other} {
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = io.Copy(c, c)
				c.Close()
			}
		}()
	}
	port := strconv.Itoa(echo.Addr().(*net.TCPAddr).Port)
	text := strings.Repeat("hello ", 100_000)
	for _, place := range [][2]string{{"tcp", port}, {"unix", path}} {
		c, err := forwardTo(t, a, place[0], place[1])
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			_, _ = io.WriteString(c, text)
			_ = c.(*net.UnixConn).CloseWrite()
		}()
		if got, err := io.ReadAll(c); err != nil || string(got) != text {
			t.Errorf("%s: %d bytes of %d, %v", place, len(got), len(text), err)
		}
	}
	echo.Close()
	for _, place := range [][2]string{{"tcp", port}, {"tcp", "0"}, {"tcp", "x"}, {"unix", "relative"}, {"unix", path + "x"}, {"udp", "1"}} {
		if _, err := forwardTo(t, a, place[0], place[1]); !errors.Is(err, wire.ErrNoForward) {
			t.Errorf("%s: %v", place, err)
		}
	}
	full := &Agent{forwards: make(chan struct{})}
	if _, err := forwardTo(t, full, "tcp", port); !errors.Is(err, wire.ErrNoForward) {
		t.Errorf("with no room: %v", err)
	}
}
