package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/arcboxlabs/arcbox-engine/actors"
	"github.com/arcboxlabs/arcbox-engine/cmd/internal/home"
)

// short is a directory whose sockets have paths that fit.
func short(t *testing.T) home.Home {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "arcbox-service")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	h, err := home.Find(func(name string) string { return map[string]string{home.Var: dir}[name] })
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(h.Run, 0o700); err != nil {
		t.Fatal(err)
	}
	return h
}

func listenAt(t *testing.T, network, address string, mode os.FileMode) net.Listener {
	t.Helper()
	lis, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = lis.Close() })
	if network == "unix" {
		if err := os.Chmod(address, mode); err != nil {
			t.Fatal(err)
		}
	}
	return lis
}

func TestSocketsOfTheServiceManagerAreTaken(t *testing.T) {
	h := short(t)
	given, err := byPath([]net.Listener{listenAt(t, "unix", h.Socket(), 0o600), listenAt(t, "unix", h.Tickets(), 0o600)})
	if err != nil {
		t.Fatal(err)
	}
	want := given[h.Socket()]
	lis, err := given.listen(h.Socket())
	if err != nil || lis != want {
		t.Errorf("%v, %v; want the one that was handed down", lis, err)
	}
	if err := given.rest(h); err == nil || !strings.Contains(err.Error(), h.Tickets()) {
		t.Errorf("one that nobody took: %v", err)
	}
	if _, err := given.listen(h.Tickets()); err != nil || given.rest(h) != nil {
		t.Errorf("both were taken: %v, %v", err, given.rest(h))
	}
}

func TestASocketOfOnesOwnWhereNoneIsHandedDown(t *testing.T) {
	h := short(t)
	lis, err := sockets{}.listen(h.Socket())
	if err != nil {
		t.Fatal(err)
	}
	if err := lis.Close(); err != nil {
		t.Error(err)
	}
}

func TestSocketsThatAreRefused(t *testing.T) {
	h := short(t)
	for name, lis := range map[string]net.Listener{
		"for everybody": listenAt(t, "unix", h.Socket(), 0o666),
		"of TCP":        listenAt(t, "tcp", "127.0.0.1:0", 0),
		"elsewhere":     listenAt(t, "unix", filepath.Join(h.Run, "other.sock"), 0o600),
		"no socket":     nil,
	} {
		given, err := byPath([]net.Listener{lis})
		if err == nil {
			if _, known := given[h.Socket()]; known {
				_, err = given.listen(h.Socket())
			} else {
				err = given.rest(h)
			}
		}
		r, ok := errors.AsType[*actors.Refusal](err)
		if !ok || r.Code.ExitCode() != 2 || !strings.Contains(r.Hint, "arcbox engine install") {
			t.Errorf("%s: %v; want a refusal with the way out", name, err)
		}
	}
}

// manager is a service manager that listens for notifications.
func manager(t *testing.T) *net.UnixConn {
	t.Helper()
	path := filepath.Join(short(t).Run, "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return c
}

func told(t *testing.T, c *net.UnixConn) string {
	t.Helper()
	buf := make([]byte, 512)
	n, err := c.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return string(buf[:n])
}

func TestTheServiceManagerIsTold(t *testing.T) {
	c := manager(t)
	notify(slog.New(slog.DiscardHandler), "READY=1", "STATUS=well")
	if got := told(t, c); got != "READY=1\nSTATUS=well" {
		t.Errorf("%q", got)
	}
}

// The watchdog hears of an engine for as long as that answers itself.
func TestWatched(t *testing.T) {
	c := manager(t)
	t.Setenv("WATCHDOG_USEC", "2000")
	ctx, cancel := context.WithCancel(t.Context())
	asked, heard := 0, make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		watched(ctx, slog.New(slog.DiscardHandler), func(context.Context) error {
			if asked++; asked == 2 {
				close(heard)
			}
			if asked == 1 {
				return nil
			}
			return errors.New("hangs")
		})
	}()
	if got := told(t, c); got != "WATCHDOG=1" {
		t.Errorf("%q", got)
	}
	<-heard
	cancel()
	<-done
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var more error
	err = raw.Read(func(fd uintptr) bool {
		_, _, more = unix.Recvfrom(int(fd), make([]byte, 9), unix.MSG_DONTWAIT)
		return true
	})
	if err != nil || !errors.Is(more, unix.EAGAIN) {
		t.Errorf("an engine that hangs told something: %v, %v", err, more)
	}
}

func TestNoWatchdog(t *testing.T) {
	t.Setenv("WATCHDOG_USEC", "")
	watched(t.Context(), slog.New(slog.DiscardHandler), func(context.Context) error { t.Error("asked"); return nil })
}

func TestBeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 35*time.Second)
		defer cancel()
		begun, n := time.Now(), 0
		beats(ctx, 10*time.Second, func(within context.Context) {
			if n++; n == 2 {
				<-within.Done() // one that hangs ends with the next
			}
		})
		if n != 4 || time.Since(begun) != 35*time.Second {
			t.Errorf("%d beats in %s", n, time.Since(begun))
		}
	})
}
