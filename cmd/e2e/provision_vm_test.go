//go:build vm

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestProvision sets a machine up while its engine dies: the script is run once,
// its result is heard by the next engine, and no secret of it gets out.
func TestProvision(t *testing.T) {
	b := newBed(t)
	dir := t.TempDir()
	script := filepath.Join(dir, "set-up.sh")
	text := "echo ran >>/root/ran; echo working\nwhile ! test -e /root/go; do sleep 0.1; done # password=hunter2\necho failing; exit 3\n"
	if err := os.WriteFile(script, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	b.ok("create", "a", "--memory", "512", "--cpus", "1", "--provision", script)
	b.ok("start", "a")
	if r := b.run("wait", "a", "provisioned", "--timeout", "1s"); r.code != 5 {
		t.Errorf("while it runs: exit %d, %q", r.code, r.err)
	}
	b.killEngine()
	b.ok("exec", "a", "--", "touch", "/root/go")
	r := b.run("provision", "a")
	if r.code != 1 || !strings.Contains(r.err, "exit status 3") || !strings.Contains(r.err, "working\nfailing") || !strings.Contains(r.err, "arcbox provision a --again") {
		t.Errorf("it failed: exit %d, %q", r.code, r.err)
	}
	if r := b.run("up", "a"); r.code != 1 {
		t.Errorf("up of a machine whose set-up failed: exit %d, %q", r.code, r.err)
	}
	b.ok("wait", "a", "agent")
	if out := b.ok("logs", "a", "--provision"); !strings.Contains(out, "working\nfailing") {
		t.Errorf("its output: %q", out)
	}
	if out := b.ok("exec", "a", "--", "cat", "/root/ran"); out != "ran" {
		t.Errorf("it ran %q", out)
	}
	if r := b.run("provision", "a", "--again"); r.code != 1 {
		t.Errorf("again: exit %d, %q", r.code, r.err)
	}
	if out := b.ok("exec", "a", "--", "cat", "/root/ran"); out != "ran\nran" {
		t.Errorf("asked for twice, it ran %q", out)
	}
	if out := b.ok("journal", "--format", "json") + b.ok("inspect", "a", "--format", "json"); strings.Contains(out, "hunter2") {
		t.Error("a secret of the script is to be seen")
	}
	b.ok("rm", "-f", "a")
}
