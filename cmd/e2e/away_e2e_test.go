//go:build e2e

package e2e

import (
	"strings"
	"testing"
)

// TestEngineGoneInTheMiddle: a command whose engine is killed under it says that it
// waits for the next one, and ends with exit 6 when its time is over.
func TestEngineGoneInTheMiddle(t *testing.T) {
	b := newBed(t)
	b.ok("engine", "start", "--allow-sim")
	b.ok("create", "a", "--backend", "sim", "--script", "ignore-shutdown")
	b.ok("start", "a")
	stop := b.begin("stop", "a", "--timeout", "5s")
	b.eventually("the stop is asked for", commandTime, func() bool { return b.list()["a"].State == "Stopping" })
	b.killEngine()
	r := stop.wait()
	if r.code != 6 || !strings.Contains(r.err, "waiting up to 5s for the next one; arcbox engine start") || !strings.Contains(r.err, "none answered within 5s") {
		t.Errorf("exit %d: %s", r.code, r.err)
	}
	b.ok("engine", "start", "--allow-sim") // and goes on where the one before was
	b.ok("wait", "a", "stopped")
}
