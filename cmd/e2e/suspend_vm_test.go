//go:build vm

package e2e

import (
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestSuspend: a guest is saved, the engine dies, the next one has it go on with what it
// ran; one that can't be saved runs on; one that is started afresh boots, with what was
// set meanwhile.
func TestSuspend(t *testing.T) {
	b := newBed(t)
	b.ok("create", "a", "--memory", "256", "--cpus", "1")
	b.ok("start", "a")
	boot := b.bootID("a")
	pid := strings.TrimSpace(b.ok("exec", "a", "--", "sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 & echo $!"))

	begun := time.Now()
	b.ok("suspend", "a")
	t.Logf("suspended in %s", time.Since(begun).Round(time.Millisecond))
	if m := b.list()["a"]; m.State != "Stopped" || m.Cause != "saved" {
		t.Errorf("it is %s, %s", m.State, m.Cause)
	}
	b.killEngine()
	b.ok("set", "a", "--memory", "300")
	if r := b.run("clone", "a", "half"); r.code != 4 || !strings.Contains(r.err, "arcbox start a") {
		t.Errorf("a clone of what is suspended: exit %d, %s", r.code, r.err)
	}
	begun = time.Now()
	b.ok("start", "a")
	t.Logf("it went on in %s", time.Since(begun).Round(time.Millisecond))
	if now := b.bootID("a"); now != boot {
		t.Errorf("boot id %s, before it was suspended %s", now, boot)
	}
	b.ok("exec", "a", "--", "kill", "-0", pid)
	had := b.memory("a")

	b.ok("suspend", "a")
	b.ok("start", "a", "--fresh")
	if now := b.bootID("a"); now == boot {
		t.Error("a fresh start goes on")
	}
	if has := b.memory("a"); has <= had {
		t.Errorf("booted with %d KiB of memory, before it was set %d", has, had)
	}
	b.ok("pause", "a")
	if r := b.run("suspend", "a"); r.code != 4 || !strings.Contains(r.err, "arcbox resume a") {
		t.Errorf("suspend of what is paused: exit %d, %s", r.code, r.err)
	}
	b.ok("rm", "-f", "a")
}

// memory is how much a guest has, in KiB.
func (b *bed) memory(name string) int {
	b.t.Helper()
	fields := strings.Fields(b.ok("exec", name, "--", "head", "-n1", "/proc/meminfo"))
	n, err := strconv.Atoi(fields[1])
	if err != nil {
		b.t.Fatal(err)
	}
	return n
}
