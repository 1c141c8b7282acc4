//go:build vm

package e2e

import (
	"slices"
	"strings"
	"testing"
)

// TestFirstMachine is a machine's whole life, seen from the command line: it
// runs, outlives its engine, powers itself off while no engine looks, and says
// so afterwards.
func TestFirstMachine(t *testing.T) {
	b := newBed(t)
	b.ok("create", "a", "--memory", "512", "--cpus", "1")
	b.ok("start", "a")
	r := b.run("exec", "a", "--", "sh", "-c", "cat /proc/cmdline; exit 7")
	if r.code != 7 || !strings.Contains(r.out, "arcbox.name=a") {
		t.Errorf("exec: exit %d, %q", r.code, r.out)
	}
	boot := b.ok("exec", "a", "--", "cat", "/proc/sys/kernel/random/boot_id")

	b.killEngine()
	if again := b.ok("exec", "a", "--", "cat", "/proc/sys/kernel/random/boot_id"); again != boot {
		t.Errorf("boot id after the engine's death: %s, before: %s", again, boot)
	}

	b.ok("stop", "a")
	want := []string{"created", "start-requested", "launched", "ready", "adopted", "stop-requested", "exited"}
	if got := kinds(b.journal("a")); !slices.Equal(got, want) {
		t.Errorf("journal: %v, want %v", got, want)
	}
	b.ok("journal", "verify")
	b.ok("rm", "a")
	if r := b.run("inspect", "a"); r.code != 3 {
		t.Errorf("inspect of a removed machine: exit %d", r.code)
	}
}
