//go:build e2e

package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"testing"
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
	if r := b.run("image", "ls"); r.code != 4 {
		t.Errorf("the images of another host: exit %d", r.code)
	}
	if r := b.run("--context", "gone", "--no-autostart", "list"); r.code == 0 {
		t.Errorf("an engine that is not there: exit %d", r.code)
	}
	b.ok("rm", "web")
}
