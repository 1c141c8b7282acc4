//go:build vm

package e2e

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// client runs one of OpenSSH's programs with the bed's configuration.
func (b *bed) client(stdin string, name string, args ...string) result {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), commandTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, append([]string{"-F", filepath.Join(b.home, "data", "ssh", "config")}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	r := result{out: out.String(), err: errs.String()}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		r.code = exit.ExitCode()
	} else if err != nil {
		b.t.Fatalf("%s %v: %v", name, args, err)
	}
	b.t.Logf("%s %s: %d\n%s%s", name, strings.Join(args, " "), r.code, r.out, r.err)
	return r
}

// sshFromAfar logs in over TCP, as a client of another host: by arcbox, and by ssh
// alone, which has the keys brought while it connects.
func (b *bed) sshFromAfar() {
	b.t.Helper()
	b.ok("engine", "join", b.ok("engine", "invite", "--name", "laptop"), "--context-name", "lab")
	config := filepath.Join(b.home, "lab.conf")
	if err := os.WriteFile(config, []byte(b.ok("--context", "lab", "ssh-config")+"\n"), 0o600); err != nil {
		b.t.Fatal(err)
	}
	if r := b.client("", "ssh", "-F", config, "a.lab.arcbox", "id -un; exit 7"); r.code != 7 || r.out != "root\n" {
		b.t.Errorf("ssh from afar: exit %d, %q", r.code, r.out)
	}
	if r := b.run("--context", "lab", "ssh", "a", "--", "id -un; exit 8"); r.code != 8 || r.out != "root\n" {
		b.t.Errorf("arcbox ssh from afar: exit %d, %q", r.code, r.out)
	}
	b.ok("engine", "revoke", "laptop")
	if r := b.run("--context", "lab", "ssh", "a", "--", "true"); r.code != 6 {
		b.t.Errorf("a revoked client's ssh: exit %d", r.code)
	}
}

// TestSSH logs in to a machine that has no sshd with the distribution's clients.
func TestSSH(t *testing.T) {
	b := newBed(t)
	b.env = []string{"XDG_CONFIG_HOME=" + t.TempDir()}
	b.ok("engine", "start", "--listen", "tcp://127.0.0.1:0")
	b.ok("create", "a", "--memory", "512", "--cpus", "1")
	b.ok("ssh-config", "--install")
	if r := b.run("ssh", "a"); r.code != 4 || !strings.Contains(r.err, "arcbox start a") {
		t.Errorf("ssh to a machine that does not run: exit %d, %q", r.code, r.err)
	}
	b.ok("start", "a")
	if r := b.run("ssh", "a", "--", "id -un; exit 7"); r.code != 7 || r.out != "root\n" {
		t.Errorf("arcbox ssh: exit %d, %q", r.code, r.out)
	}
	b.sshFromAfar()
	b.sshCopies()
	b.sshForwards()
	b.sshOutlivesTheEngine()

	// Another machine in its place is noticed.
	known := filepath.Join(b.home, "data", "ssh", "a.arcbox", "known_hosts")
	if err := os.WriteFile(known, []byte("arcbox ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILbAnUhYDN8qKSEZhMesROK6oy1TQ2K/TUtorApU6BiG\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := b.client("", "ssh", "a.arcbox", "true"); r.code != 255 || !strings.Contains(r.err, "IDENTIFICATION HAS CHANGED") {
		t.Errorf("another host key: exit %d, %q", r.code, r.err)
	}
}

// sshCopies copies there and back, by scp and by sftp, also as a user with
// fewer rights.
func (b *bed) sshCopies() {
	b.t.Helper()
	dir := b.t.TempDir()
	from, text := filepath.Join(dir, "from"), bytes.Repeat([]byte("some text\n"), 1<<17)
	if err := os.WriteFile(from, text, 0o640); err != nil {
		b.t.Fatal(err)
	}
	for name, copies := range map[string][]result{
		"scp": {b.client("", "scp", "-q", "-p", from, "a.arcbox:/tmp/x"), b.client("", "scp", "-q", "a.arcbox:/tmp/x", filepath.Join(dir, "scp"))},
		"sftp": {b.client("put "+from+" /tmp/y\nchmod 600 /tmp/y\nget /tmp/y "+filepath.Join(dir, "sftp")+"\n",
			"sftp", "-q", "-b", "-", "a.arcbox")},
	} {
		for _, r := range copies {
			if r.code != 0 {
				b.t.Errorf("%s: exit %d, %q", name, r.code, r.err)
			}
		}
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(got, text) {
			b.t.Errorf("%s: %d bytes came back, %v", name, len(got), err)
		}
	}
	if r := b.client("get /tmp/y "+filepath.Join(dir, "z")+"\n", "sftp", "-q", "-b", "-", "nobody@a.arcbox"); r.code == 0 || !strings.Contains(r.err, "ermission denied") {
		b.t.Errorf("nobody reads root's file: exit %d, %q", r.code, r.err)
	}
}

// sshForwards reaches a port inside the guest.
func (b *bed) sshForwards() {
	b.t.Helper()
	b.ok("exec", "a", "--", "sh", "-c", "mkdir /tmp/www; echo inside >/tmp/www/x; httpd -p 127.0.0.1:8080 -h /tmp/www")
	if r := b.client("GET /x HTTP/1.0\r\n\r\n", "ssh", "-W", "127.0.0.1:8080", "a.arcbox"); !strings.HasSuffix(r.out, "\r\n\r\ninside\n") {
		b.t.Errorf("through a forward: exit %d, %q", r.code, r.out)
	}
}

// sshOutlivesTheEngine: a session goes on where the engine does not.
func (b *bed) sshOutlivesTheEngine() {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), commandTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, "ssh", "-F", filepath.Join(b.home, "data", "ssh", "config"), "a.arcbox", "echo begun; cat; echo over")
	cmd.WaitDelay = time.Second
	in, err := cmd.StdinPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	begun := make([]byte, len("begun\n"))
	if _, err := io.ReadFull(out, begun); err != nil {
		b.t.Fatal(err)
	}
	b.killEngine()
	if _, err := io.WriteString(in, "after\n"); err != nil {
		b.t.Error(err)
	}
	in.Close()
	rest, err := io.ReadAll(out)
	if err := errors.Join(err, cmd.Wait()); err != nil || string(rest) != "after\nover\n" {
		b.t.Errorf("after the engine's death: %q, %v", rest, err)
	}
}
