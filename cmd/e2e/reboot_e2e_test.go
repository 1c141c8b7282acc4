//go:build e2e

package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// anotherBoot makes the engines of a bed see another host boot id: each runs
// in a mount namespace of its own, in which a file lies over the kernel's. The
// engine needs no seam for it. unshare needs root, or a kernel that lets users
// make namespaces.
func (b *bed) anotherBoot(id string) {
	b.t.Helper()
	file, script := filepath.Join(b.home, "boot_id"), filepath.Join(b.home, "engine") // as long as the bed
	root := ""
	if os.Getuid() != 0 {
		root = "--map-root-user"
	}
	text := fmt.Sprintf("#!/bin/sh\nexec unshare --mount %s sh -c 'mount --bind %s /proc/sys/kernel/random/boot_id && exec %s \"$@\"' engine \"$@\"\n",
		root, file, filepath.Join(os.Getenv("ARCBOX_BIN"), "arcbox-engine"))
	if err := os.WriteFile(file, []byte(id+"\n"), 0o600); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(script, []byte(text), 0o700); err != nil { //nolint:gosec // a program of this test
		b.t.Fatal(err)
	}
	b.env = []string{"ARCBOX_ENGINE=" + script}
	if out, err := exec.Command(script, "--version").CombinedOutput(); err != nil {
		b.t.Fatalf("an engine in a mount namespace of its own: %v: %s; this test needs root, or user namespaces", err, out)
	}
}

// powerCut kills everything of a home, and leaves behind what a host finds when
// it comes up again: locks that nobody holds, sockets on which nobody
// listens, directories.
func (b *bed) powerCut(t *testing.T, machines ...machineView) {
	t.Helper()
	engine := b.engine().PID
	_ = syscall.Kill(engine, syscall.SIGKILL)
	b.eventually("all processes are dead", 20*time.Second, func() bool {
		hs := b.holders("", "")
		for _, h := range hs {
			b.signal(h, syscall.SIGKILL)
		}
		return len(hs) == 0 && dead(engine)
	})
	for _, m := range machines {
		for _, file := range []string{filepath.Join(m.Dir, "lock"), filepath.Join(m.Dir, "token"), m.RunDir} {
			if _, err := os.Lstat(file); err != nil {
				t.Fatalf("a host that lost its power has %s: %v", file, err)
			}
		}
		if socks, _ := filepath.Glob(filepath.Join(m.RunDir, "*.sock")); m.State == "Running" && len(socks) == 0 {
			t.Fatalf("%s left no stale socket", m.Name)
		}
	}
	if _, err := net.Dial("unix", filepath.Join(b.home, "run", "engine.sock")); err == nil {
		t.Fatal("somebody listens on the dead engine's socket")
	}
}

// TestHostReboot: the host goes down with machines running, starting, stopping
// and stopped, and comes up with another boot id. The cause is host-lost, the
// restart policy is obeyed, nothing is adopted.
func TestHostReboot(t *testing.T) {
	b := newBed(t)
	flags := []string{"--memory", "128", "--cpus", "1", "--restart"}
	for name, policy := range map[string]string{"never": "no", "failure": "on-failure", "always": "always", "asked": "always"} {
		b.ok(append([]string{"create", name}, append(flags, policy)...)...)
	}
	b.ok("create", "hangs", "--memory", "128", "--cpus", "1", "--cmdline", "arcbox.test=no-agent")
	b.ok("create", "stubborn", "--memory", "128", "--cpus", "1", "--cmdline", "arcbox.test=ignore-shutdown", "--restart", "always")
	b.ok("start", "never", "failure", "always", "asked", "stubborn")
	boots := map[string]string{"failure": b.bootID("failure"), "always": b.bootID("always")}
	b.ok("stop", "asked")
	starting, stopping := b.begin("start", "hangs", "--no-autostart"), b.begin("stop", "stubborn", "--no-autostart", "--timeout", "60s")
	b.eventually("one starts, one stops", 30*time.Second, func() bool {
		l := b.list()
		return l["hangs"].State == "Starting" && l["stubborn"].State == "Stopping" &&
			slices.Contains(kinds(b.journal("hangs")), "launched")
	})
	before := map[string]machineView{}
	for name := range b.list() {
		before[name] = b.inspect(name)
	}
	b.powerCut(t, before["never"], before["failure"], before["always"], before["asked"], before["hangs"], before["stubborn"])
	for _, r := range []*running{starting, stopping} {
		_ = r.cmd.Process.Kill()
		r.wait()
	}

	b.anotherBoot("11111111-2222-4333-8444-555555555555")
	b.ok("engine", "start")
	var status struct {
		BootID string `json:"boot_id"`
	}
	if b.into(&status, "engine", "status"); !strings.HasPrefix(status.BootID, "11111111") {
		t.Fatalf("the engine sees the boot id %q", status.BootID)
	}
	for name, boot := range boots {
		b.ok("wait", name, "running", "--timeout", "90s")
		if again := b.bootID(name); again == boot {
			t.Errorf("%s has the boot id of before the power cut", name)
		}
		if start := last(b.journal(name), "start-requested"); start.Principal != "engine" || start.Reason != "policy" {
			t.Errorf("%s was started by %s (%s)", name, start.Principal, start.Reason)
		}
		b.ok("exec", name, "--", "true")
	}
	for name, state := range map[string]string{
		"never": "Stopped", "hangs": "Stopped", "stubborn": "Stopped", "asked": "Stopped", "failure": "Running", "always": "Running",
	} {
		rs := b.journal(name)
		repaired := last(rs, "repaired")
		if m := b.inspect(name); m.State != state {
			t.Errorf("%s is %s, want %s: %v", name, m.State, state, kinds(rs))
		}
		if last(rs, "adopted").Seq != 0 {
			t.Errorf("%s was adopted after a power cut", name)
		}
		if name == "asked" { // a person stopped it, before
			if repaired.Seq != 0 || last(rs, "exited").text("cause") != "stopped" {
				t.Errorf("asked: %v", kinds(rs))
			}
			continue
		}
		if repaired.text("cause") != "host-lost" {
			t.Errorf("%s: repaired says %v, want host-lost", name, repaired.Fact)
		}
		if state == "Stopped" {
			b.why(t, name, "host-lost", "the host itself went down")
			b.nothingLeft(t, "a power cut", b.inspect(name), false)
		}
	}
	b.ok("start", "never")
	b.ok("rm", "-f", "never")
	b.ok("journal", "verify")
}
