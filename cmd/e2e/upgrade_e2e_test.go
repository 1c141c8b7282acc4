//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// build makes another build of the engine and of the VM host, in a directory
// with the command line's own binary.
func build(t *testing.T, dir, version string) {
	t.Helper()
	for _, name := range []string{"arcbox-engine", "arcbox-netd", "arcbox-vmhost"} {
		cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-X main.version="+version,
			"-o", filepath.Join(dir, name+".new"), "../"+name)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v: %s", name, err, out)
		}
		if err := os.Rename(filepath.Join(dir, name+".new"), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestUpgrade: engine and VM host are replaced by another build while machines
// run: by a rename, as packages do it. Machines go on, in VM hosts of the old
// build; the new engine adopts them, and new launches get the new build.
func TestUpgrade(t *testing.T) {
	dir := t.TempDir()
	b := newBed(t)
	b.env = []string{"ARCBOX_ENGINE=" + filepath.Join(dir, "arcbox-engine")}
	build(t, dir, "v1-of-the-test")
	b.ok("create", "a", "--memory", "128", "--cpus", "1")
	b.ok("create", "b", "--memory", "128", "--cpus", "1", "--restart", "on-failure")
	b.ok("start", "a", "b")
	if e := b.engine(); e.Version != "v1-of-the-test" {
		t.Fatalf("the engine is %q", e.Version)
	}
	boots := map[string]string{"a": b.bootID("a"), "b": b.bootID("b")}
	for step, end := range []func(){b.killEngine, func() { b.ok("engine", "stop") }, func() {
		if err := syscall.Kill(b.engine().PID, syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
	}} {
		version := "v" + string(rune('2'+step)) + "-of-the-test"
		build(t, dir, version)
		old := b.engine().PID
		end()
		b.eventually("the old engine is dead", commandTime, func() bool { return dead(old) })
		b.ok("engine", "start")
		if e := b.engine(); e.Version != version {
			t.Errorf("after the swap the engine is %q, want %q", e.Version, version)
		}
		for name, boot := range boots {
			if m := b.inspect(name); !m.Outdated || !b.list()[name].Outdated {
				t.Errorf("%s: %s in a VM host of %s is not shown as outdated", version, name, m.Host)
			}
			if again := b.bootID(name); again != boot {
				t.Errorf("%s: boot id of %s %s, before: %s", version, name, again, boot)
			}
			rs := b.journal(name)
			if adopted := rs[len(rs)-1]; adopted.Kind != "adopted" || adopted.text("version") != "v1-of-the-test" {
				t.Errorf("%s: last record of %s: %s %v; want adopted, the VM host's old version", version, name, adopted.Kind, adopted.Fact)
			}
		}
	}
	b.ok("restart", "a")
	if m := b.inspect("a"); m.Host != "v4-of-the-test" || m.Outdated {
		t.Errorf("a was started anew in a VM host of version %q, outdated %t", m.Host, m.Outdated)
	}
	b.ok("stop", "b") // a VM host of the first build obeys the fourth engine
	b.nothingLeft(t, "stop after three upgrades", b.inspect("b"), false)
	var started []record
	b.into(&started, "journal", "--kind", "engine-started")
	if len(started) != 4 || started[3].text("version") != "v4-of-the-test" {
		t.Errorf("engine-started: %v", started)
	}
	b.ok("journal", "verify")
}
