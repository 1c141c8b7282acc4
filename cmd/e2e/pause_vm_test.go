//go:build vm

package e2e

import (
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestPause: a guest is held still, its engine dies and the next one says so too, and the
// guest goes on where it was. One that is held still shuts down where it is asked to.
func TestPause(t *testing.T) {
	b := newBed(t)
	b.ok("create", "a", "--memory", "256", "--cpus", "1")
	b.ok("start", "a")
	boot, begun := b.bootID("a"), time.Now()
	up := b.uptime("a")

	b.ok("pause", "a")
	still := time.Now()
	b.killEngine()
	if r := b.run("exec", "a", "--", "true"); r.code != 125 || !strings.Contains(r.err, "arcbox resume a") {
		t.Errorf("exec in what is paused: exit %d, %s", r.code, r.err)
	}
	if m := b.list()["a"]; m.State != "Running" || m.Health != "paused" {
		t.Errorf("it is %s, %s", m.State, m.Health)
	}
	held := time.Since(still)
	b.ok("resume", "a")
	if now := b.bootID("a"); now != boot {
		t.Errorf("boot id %s, before the pause %s", now, boot)
	}
	if ran, most := b.uptime("a")-up, time.Since(begun)-held; ran > most {
		t.Errorf("its clock ran for %s, and it was let run for %s at most", ran, most)
	}
	t.Logf("held still for %s", held)

	b.ok("pause", "a")
	b.ok("stop", "a")
	if m := b.list()["a"]; m.Cause != "stopped" {
		t.Errorf("stopped while it was paused, its cause is %s", m.Cause)
	}
	b.ok("rm", "a")
}

// uptime is how long a guest's own clock has run.
func (b *bed) uptime(name string) time.Duration {
	b.t.Helper()
	text, _, _ := strings.Cut(b.ok("exec", name, "--", "cat", "/proc/uptime"), " ")
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil {
		b.t.Fatal(err)
	}
	return time.Duration(seconds * float64(time.Second))
}
