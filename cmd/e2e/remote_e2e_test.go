//go:build e2e

package e2e

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/guest/image/imagetest"
)

// far is a bed that is used from "another host": only through an sshd, which
// serves each connection by a process of its own.
func far(t *testing.T) *bed {
	t.Helper()
	b := newBed(t)
	dir := t.TempDir()
	bin, err := filepath.Abs(os.Getenv("ARCBOX_BIN"))
	if err != nil {
		t.Fatal(err)
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 {
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil { //nolint:gosec // as its package makes it
			t.Fatal(err)
		}
	}
	for _, key := range []string{"host", "me"} {
		if out, err := exec.CommandContext(t.Context(), "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, key)).CombinedOutput(); err != nil { //nolint:gosec // ours
			t.Fatalf("%v: %s", err, out)
		}
	}
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	hostKey, err := os.ReadFile(filepath.Join(dir, "host.pub"))
	if err != nil {
		t.Fatal(err)
	}
	port := lis.Addr().(*net.TCPAddr).Port
	for name, text := range map[string]string{
		"sshd.conf": fmt.Sprintf("HostKey %s/host\nAuthorizedKeysFile %s/me.pub\nPidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nSetEnv PATH=%s:/usr/bin:/bin\n", dir, dir, bin),
		"ssh.conf":  fmt.Sprintf("Host lab\n HostName 127.0.0.1\n Port %d\n User %s\n IdentityFile %s/me\n UserKnownHostsFile %s/known\n StrictHostKeyChecking yes\n", port, me.Username, dir, dir),
		"known":     fmt.Sprintf("[127.0.0.1]:%d %s", port, hostKey),
		"bin/ssh":   fmt.Sprintf("#!/bin/sh\nexec /usr/bin/ssh -F %s/ssh.conf \"$@\"\n", dir),
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o700); err != nil { //nolint:gosec // one of them is run
			t.Fatal(err)
		}
	}
	serveSSH(t, lis, filepath.Join(dir, "sshd.conf"))
	b.env = []string{"XDG_CONFIG_HOME=" + dir, "PATH=" + filepath.Join(dir, "bin") + ":" + os.Getenv("PATH")}
	t.Cleanup(func() { b.env = nil }) // the bed is cleared from here
	return b
}

// serveSSH is what inetd would do.
func serveSSH(t *testing.T, lis net.Listener, conf string) {
	var work sync.WaitGroup
	t.Cleanup(work.Wait)
	t.Cleanup(func() { _ = lis.Close() })
	work.Go(func() {
		for {
			c, err := lis.Accept()
			if err != nil {
				return
			}
			f, err := c.(*net.TCPConn).File()
			_ = c.Close()
			if err != nil {
				t.Error(err)
				continue
			}
			cmd := exec.Command("/usr/sbin/sshd", "-i", "-e", "-f", conf) //nolint:noctx,gosec // ends with its connection
			var said strings.Builder
			cmd.Stdin, cmd.Stdout, cmd.Stderr = f, f, &said
			work.Go(func() {
				defer f.Close()
				if err := cmd.Run(); err != nil {
					t.Logf("sshd: %v: %s", err, said.String())
				}
			})
		}
	})
}

// TestRemoteBySSH: an engine of another host does by ssh alone what it does here.
func TestRemoteBySSH(t *testing.T) {
	t.Parallel()
	b := far(t)
	b.ok("engine", "start", "--allow-sim")
	b.ok("context", "add", "lab", "ssh://lab"+b.home)
	b.ok("context", "add", "gone", "ssh://lab"+b.home+"/none/x")
	b.env = append(b.env, "ARCBOX_CONTEXT=lab")
	b.ok("create", "web", "--backend", "sim", "--script", "console=hello from afar")
	b.ok("start", "web")
	if v := b.inspect("web"); v.State != "Running" {
		t.Errorf("it is %s", v.State)
	}
	if got := last(b.journal("web"), "created").Principal; got != fmt.Sprintf("uid:%d", os.Getuid()) {
		t.Errorf("created by %q", got)
	}
	const large = 128 << 10
	cmd := b.command(t.Context(), "exec", "-i", "web", "--", "cat")
	cmd.Stdin = strings.NewReader(strings.Repeat("x", large))
	if out, err := cmd.Output(); err != nil || len(out) != large {
		t.Errorf("%d bytes of %d came back: %v", len(out), large, err)
	}
	if r := b.run("exec", "web", "--", "sh", "-c", "exit 7"); r.code != 7 {
		t.Errorf("a program's status came as %d", r.code)
	}
	if got := b.ok("logs", "web"); !strings.Contains(got, "hello from afar") {
		t.Errorf("its console: %q", got)
	}
	b.ok("stop", "web")
	b.ok("image", "import", b.file("root.tar", string(imagetest.Root(t, "afar")), 0o600), "base")
	if got := b.ok("image", "ls", "-q"); got != "base" {
		t.Errorf("the images of another host: %q", got)
	}
	if r := b.run("run", "base", "--backend", "sim", "--", "true"); r.code != 125 || !strings.Contains(r.err, "never tells that its init is ready") { // no sim does
		t.Errorf("run: exit %d, %s", r.code, r.err)
	}
	if got := b.ok("list", "-q"); got != "web" {
		t.Errorf("left are %q", got)
	}
	if r := b.run("--context", "gone", "--no-autostart", "list"); r.code == 0 {
		t.Errorf("an engine that is not there: exit %d", r.code)
	}
	b.ok("rm", "web")
}

// TestRemoteByTCP: a client of another host joins once, does what its role says,
// is recorded, and is out at once; none of it is forgotten by an engine that is
// killed.
func TestRemoteByTCP(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.env = []string{"XDG_CONFIG_HOME=" + t.TempDir(), "HOME=" + b.home}
	b.ok("engine", "start", "--allow-sim", "--listen", "tcp://127.0.0.1:0")
	token := b.ok("engine", "invite", "--name", "laptop")
	known, err := wire.ParseToken(token)
	if err != nil {
		t.Fatal(err)
	}
	b.killEngine()
	b.ok("engine", "start", "--allow-sim", "--listen", "tcp://"+known.Address)
	b.ok("engine", "join", token, "--context-name", "lab")
	b.ok("engine", "join", b.ok("engine", "invite", "--name", "wall", "--role", "viewer"), "--context-name", "wall")
	b.ok("--context", "lab", "create", "web", "--backend", "sim", "--script", "console=hello")
	b.ok("--context", "lab", "start", "web")
	if got := last(b.journal("web"), "created").Principal; got != "admin:laptop" {
		t.Errorf("created by %q", got)
	}
	if got := b.ok("--context", "lab", "exec", "web", "--", "echo", "from afar"); got != "from afar" {
		t.Errorf("exec printed %q", got)
	}
	b.ok("--context", "wall", "list")
	for _, args := range []string{"stop web", "exec web -- true", "rm -f web", "engine stop", "engine invite --name x"} {
		if r := b.run(append([]string{"--context", "wall"}, strings.Fields(args)...)...); r.code != 7 && r.code != 125 {
			t.Errorf("a viewer's %s: exit %d", args, r.code)
		}
	}
	open := b.command(t.Context(), "--context", "lab", "logs", "web", "--follow")
	said, err := open.StdoutPipe()
	if err == nil {
		err = open.Start()
	}
	if err == nil {
		_, err = said.Read(make([]byte, 1)) // it follows
	}
	if err != nil {
		t.Fatal(err)
	}
	b.ok("engine", "revoke", "laptop")
	if rest, err := io.ReadAll(said); err != nil { // it ends: what it had is cut, and nothing else is to be had
		t.Errorf("%v after %d bytes", err, len(rest))
	}
	t.Logf("it ended: %v", open.Wait())
	if r := b.run("--context", "lab", "list"); r.code != 6 {
		t.Errorf("a revoked client's list: exit %d", r.code)
	}
	b.ok("--context", "wall", "list")
	b.killEngine()
	b.ok("engine", "start", "--allow-sim", "--listen", "tcp://"+known.Address)
	if r := b.run("engine", "join", token, "--context-name", "again"); r.code != 7 || !strings.Contains(r.err, "unknown, used") {
		t.Errorf("a token was taken twice: exit %d, %s", r.code, r.err)
	}
	var left []struct{ Name string }
	b.into(&left, "engine", "clients")
	if len(left) != 1 || left[0].Name != "wall" {
		t.Errorf("after the restart there are %v", left)
	}
}
