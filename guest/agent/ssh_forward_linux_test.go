package agent

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// watched is output that a test waits for.
type watched struct {
	mu      sync.Mutex
	text    strings.Builder
	changed chan struct{}
}

func (w *watched) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text.Write(b)
	select {
	case w.changed <- struct{}{}:
	default:
	}
	return len(b), nil
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

func (w *watched) await(t *testing.T, part string) {
	t.Helper()
	late := time.After(testPatience)
	for !strings.Contains(w.String(), part) {
		select {
		case <-w.changed:
		case <-late:
			t.Fatalf("%q never came: %q", part, w.String())
		}
	}
}

// echo answers each connection with what it says, to the end.
func echo(t *testing.T, l net.Listener) net.Listener {
	t.Helper()
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	return l
}

// said sends text, ends its side, and reads to the other's end.
func said(t *testing.T, c net.Conn, text string) {
	t.Helper()
	defer c.Close()
	go func() {
		_, _ = io.WriteString(c, text)
		_ = c.(interface{ CloseWrite() error }).CloseWrite()
	}()
	got, err := io.ReadAll(c)
	if err != nil || string(got) != text {
		t.Errorf("%d bytes of %d came back: %v", len(got), len(text), err)
	}
}

func listen(t *testing.T, network, at string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, at)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestSSHForwardsOut(t *testing.T) {
	c := serveTestSSH(t).client(t)
	dir := t.TempDir()
	for _, l := range []net.Listener{listen(t, "tcp", "127.0.0.1:0"), listen(t, "unix", filepath.Join(dir, "s"))} {
		echo(t, l)
		conn, err := c.Dial(l.Addr().Network(), l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		said(t, conn, strings.Repeat("there and back ", 1<<16))
	}
	gone := listen(t, "tcp", "127.0.0.1:0")
	gone.Close()
	if _, err := c.Dial("tcp", gone.Addr().String()); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("a port where nobody listens: %v", err)
	}
	if _, err := c.Dial("unix", filepath.Join(dir, "none")); err == nil {
		t.Error("a socket that is not there is reached")
	}
	for _, bad := range []any{struct{ Short bool }{}, directTCP{Host: "localhost", Port: 1 << 16}, directTCP{Host: "localhost"}} {
		if _, _, err := c.OpenChannel("direct-tcpip", ssh.Marshal(bad)); err == nil {
			t.Errorf("%v is opened", bad)
		}
	}
}

func TestSSHForwardsIn(t *testing.T) {
	c := serveTestSSH(t).client(t)
	path := filepath.Join(t.TempDir(), "s")
	tcp, err := c.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	unix, err := c.ListenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket: %v, %v", info, err)
	}
	if _, err := c.ListenUnix(path); err == nil {
		t.Error("a socket is made where one is")
	}
	for _, l := range []net.Listener{echo(t, tcp), echo(t, unix)} {
		conn, err := net.Dial(l.Addr().Network(), l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		said(t, conn, strings.Repeat("in and out ", 1<<16))
		if err := l.Close(); err != nil { // waits for the answer
			t.Error(err)
		}
		if _, err := net.Dial(l.Addr().Network(), l.Addr().String()); err == nil {
			t.Errorf("%s listens after its end", l.Addr())
		}
	}
}

func TestSSHForwardsAreBounded(t *testing.T) {
	s := serveTestSSH(t)
	c := s.client(t)
	for i := range maxSSHListens + 1 {
		_, err := c.Listen("tcp", "127.0.0.1:0")
		if (err == nil) != (i < maxSSHListens) {
			t.Fatalf("forward %d: %v", i, err)
		}
	}
	l := echo(t, listen(t, "tcp", "127.0.0.1:0"))
	for i := range maxSSHChannels + 1 {
		_, err := c.Dial("tcp", l.Addr().String())
		if (err == nil) != (i < maxSSHChannels) {
			t.Fatalf("channel %d: %v", i, err)
		}
	}
	newSession(t, s.client(t)) // another client has its own
}

// TestSSHForwardsTheAgent: a program in the guest reaches the client's agent,
// and its socket goes with the session.
func TestSSHForwardsTheAgent(t *testing.T) {
	c := serveTestSSH(t).client(t)
	keys := agent.NewKeyring()
	if err := agent.ForwardToAgent(c, keys); err != nil {
		t.Fatal(err)
	}
	x := newSession(t, c)
	if err := agent.RequestAgentForwarding(x); err != nil {
		t.Fatal(err)
	}
	if err := agent.RequestAgentForwarding(x); err == nil {
		t.Error("it is forwarded twice")
	}
	stdin, err := x.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out := &watched{changed: make(chan struct{}, 1)}
	x.Stdout = out
	if err := x.Start("echo $SSH_AUTH_SOCK; cat"); err != nil {
		t.Fatal(err)
	}
	out.await(t, "\n")
	path := strings.TrimSpace(out.String())
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if list, err := agent.NewClient(conn).List(); err != nil || len(list) != 0 {
		t.Errorf("keys %v, %v", list, err)
	}
	stdin.Close()
	if err := x.Wait(); err != nil {
		t.Error(err)
	}
	dir := filepath.Dir(path)
	ctx, cancel := context.WithTimeout(t.Context(), testPatience)
	defer cancel()
	if err := awaitFiles(ctx, func() (bool, error) {
		_, err := os.Stat(dir)
		return os.IsNotExist(err), nil
	}, dir); err != nil {
		t.Errorf("%s is left: %v", path, err)
	}
}
