package agent

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

func newSigner(t testing.TB) ssh.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

func self(t testing.TB) string {
	t.Helper()
	who, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	return who.Username
}

// sshServer is an agent that serves SSH on a unix socket.
type sshServer struct {
	agent *Agent
	path  string
	host  ssh.Signer
	login ssh.Signer
}

func serveTestSSH(t *testing.T) *sshServer {
	t.Helper()
	a, err := New(Options{Version: "test-1", Token: testToken, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "ssh")
	if err != nil {
		t.Fatal(err)
	}
	s := &sshServer{agent: a, path: filepath.Join(dir, "s"), host: newSigner(t), login: newSigner(t)}
	l, err := net.Listen("unix", s.path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	collecting, stop := context.WithCancel(context.Background())
	go a.children.run(collecting)
	served := make(chan struct{})
	go func() {
		defer close(served)
		a.ServeSSH(ctx, l, SSHKeys{Host: s.host, Authorized: s.login.PublicKey()})
	}()
	t.Cleanup(func() {
		cancel()
		<-served
		stop()
		os.RemoveAll(dir)
	})
	return s
}

// dial shows the token.
func (s *sshServer) dial(t *testing.T) net.Conn {
	t.Helper()
	c, err := net.Dial("unix", s.path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(testPatience)); err != nil {
		t.Fatal(err)
	}
	if err := wire.SendPreface(c, testToken); err != nil {
		t.Fatal(err)
	}
	return c
}

func (s *sshServer) logIn(t *testing.T, as string, key ssh.Signer, banner func(string)) (*ssh.Client, error) {
	t.Helper()
	conn, chans, reqs, err := ssh.NewClientConn(s.dial(t), "guest", &ssh.ClientConfig{
		User: as, Auth: []ssh.AuthMethod{ssh.PublicKeys(key)}, HostKeyCallback: ssh.FixedHostKey(s.host.PublicKey()),
		BannerCallback: func(text string) error {
			if banner != nil {
				banner(text)
			}
			return nil
		},
	})
	if err != nil {
		return nil, err
	}
	c := ssh.NewClient(conn, chans, reqs)
	t.Cleanup(func() { c.Close() })
	return c, nil
}

func (s *sshServer) client(t *testing.T) *ssh.Client {
	t.Helper()
	c, err := s.logIn(t, self(t), s.login, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func newSession(t *testing.T, c *ssh.Client) *ssh.Session {
	t.Helper()
	x, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.Close() })
	return x
}

func TestSSHLetsOneKeyIn(t *testing.T) {
	s := serveTestSSH(t)
	if _, err := s.logIn(t, self(t), newSigner(t), nil); err == nil || !strings.Contains(err.Error(), "unable to authenticate") {
		t.Errorf("another key: %v", err)
	}
	for _, who := range []string{"nobody-has-this-name", "0", self(t) + ":0", "", "a\x00b"} {
		said := ""
		if _, err := s.logIn(t, who, s.login, func(text string) { said += text }); err == nil {
			t.Errorf("user %q is let in", who)
		}
		if !strings.Contains(said, "user ") {
			t.Errorf("user %q is told %q, want why not", who, said)
		}
	}
	said := ""
	if _, err := s.logIn(t, "nobody-has-this-name", newSigner(t), func(text string) { said += text }); err == nil || said != "" {
		t.Errorf("a stranger learns of users: %q, %v", said, err)
	}
	if c := s.client(t); !strings.HasPrefix(string(c.ServerVersion()), "SSH-2.0-arcbox-agent_test_1") {
		t.Errorf("version %s", c.ServerVersion())
	}
}

func TestSSHWantsTheToken(t *testing.T) {
	s := serveTestSSH(t)
	c, err := net.Dial("unix", s.path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := wire.SendPreface(c, bytes.Repeat([]byte{'x'}, wire.TokenSize)); err == nil {
		t.Error("a wrong token is welcome")
	}
}

// TestSSHLoginIsTimed: who has the token and says nothing is dropped.
func TestSSHLoginIsTimed(t *testing.T) {
	host, login := newSigner(t), newSigner(t)
	synctest.Test(t, func(t *testing.T) {
		a, err := New(Options{Version: "test", Token: testToken, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
		if err != nil {
			t.Fatal(err)
		}
		l := newPipeListener()
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan struct{})
		go func() {
			defer close(served)
			a.ServeSSH(ctx, l, SSHKeys{Host: host, Authorized: login.PublicKey()})
		}()
		c := l.dial()
		if err := wire.SendPreface(c, testToken); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		if _, err := io.Copy(io.Discard, c); err != nil {
			t.Error(err)
		}
		if took := time.Since(begun); took != sshLoginTime {
			t.Errorf("dropped after %v, want %v", took, sshLoginTime)
		}
		cancel()
		<-served
	})
}

func TestSSHSurvivesGarbage(t *testing.T) {
	s := serveTestSSH(t)
	for _, garbage := range []string{
		"\n", "GET / HTTP/1.1\r\n\r\n", "SSH-1.0-old\r\n", "SSH-2.0-x\r\n\xff\xff\xff\xff\xff\xff\xff\xff",
		"SSH-2.0-x\r\n\x00\x00\x00\x0c\x0a\x14" + strings.Repeat("\x00", 64), strings.Repeat("x", 1<<16),
	} {
		c := s.dial(t)
		if _, err := io.WriteString(c, garbage); err != nil {
			continue // it has closed before the end
		}
		_ = c.(*net.UnixConn).CloseWrite()
		if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%.20q: is kept", garbage)
		}
	}
	newSession(t, s.client(t))
}

func TestParseSSHKeys(t *testing.T) {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	host, login := pem.EncodeToMemory(block), ssh.MarshalAuthorizedKey(newSigner(t).PublicKey())
	if _, err := ParseSSHKeys(host, login); err != nil {
		t.Error(err)
	}
	if _, err := ParseSSHKeys(login, login); err == nil || !strings.Contains(err.Error(), "host key") {
		t.Errorf("no private key: %v", err)
	}
	if _, err := ParseSSHKeys(host, nil); err == nil || !strings.Contains(err.Error(), "authorized key") {
		t.Errorf("no public key: %v", err)
	}
}
