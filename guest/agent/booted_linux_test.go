package agent

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestOpenRCReady(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "run/openrc")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		level    string
		starting bool
		want     bool
	}{{"", false, false}, {"sysinit\n", false, false}, {"boot", false, false}, {"default", true, false}, {"default\n", false, true}, {"mine", false, true}} {
		if err := os.WriteFile(filepath.Join(dir, "softlevel"), []byte(step.level), 0o644); err != nil {
			t.Fatal(err)
		}
		err := os.RemoveAll(filepath.Join(dir, "rc.starting"))
		if step.starting {
			err = os.Mkdir(filepath.Join(dir, "rc.starting"), 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := openRCReady(root); got != step.want {
			t.Errorf("%+v: %v", step, got)
		}
	}
	if err := awaitOpenRC(t.Context(), t.TempDir()); err != nil { // without OpenRC it waits for nothing
		t.Error(err)
	}
}

// TestAwaitOpenRC begins before there is a directory to watch.
func TestAwaitOpenRC(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), testPatience)
	defer cancel()
	root := t.TempDir()
	write(t, root, "sbin/openrc", "")
	ready := make(chan error, 1)
	go func() { ready <- awaitOpenRC(ctx, root) }()
	dir := filepath.Join(root, openRCDir)
	starting := filepath.Join(dir, "rc.starting")
	if err := os.MkdirAll(starting, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "softlevel", "default\n")
	if len(ready) > 0 {
		t.Error("it is ready while it starts")
	}
	if err := os.Remove(starting); err != nil {
		t.Fatal(err)
	}
	if err := <-ready; err != nil {
		t.Error(err)
	}
}

// TestReceiveFrom: the kernel says who sent a message.
func TestReceiveFrom(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	raw, err := socket.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSCRED, 1)
	}); err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("unixgram", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("STATUS=Up\nREADY=1\n")); err != nil {
		t.Fatal(err)
	}
	text, from, err := receiveFrom(socket)
	if err != nil || int(from) != os.Getpid() || !saysReady(text) {
		t.Errorf("%q from %d, %v", text, from, err)
	}
	if saysReady("READY=10\nXREADY=1") {
		t.Error("something else is taken for ready")
	}
}
