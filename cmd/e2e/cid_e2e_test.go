//go:build e2e

package e2e

import "testing"

// TestCIDsTaken: a launch whose CID somebody else on the host has goes on with the
// next one, and the journal says why; where all are taken it fails, and says that.
func TestCIDsTaken(t *testing.T) {
	b := newBed(t)
	b.ok("engine", "start", "--allow-sim")
	b.ok("create", "a", "--backend", "sim", "--script", "boot=1ms;cids-taken=5")
	b.ok("start", "a")
	if m := b.inspect("a"); m.State != "Running" || m.CID != 5 {
		t.Errorf("%+v", m)
	}
	taken := 0
	for _, r := range b.journal("a") {
		if r.Kind == "relaunched" && r.Fact["taken"] == true {
			taken++
		}
	}
	if taken != 2 { // 3 and 4
		t.Errorf("%d records say that a CID was taken", taken)
	}
	b.ok("create", "b", "--backend", "sim", "--script", "cids-taken=4294967294")
	if r := b.run("start", "b"); r.code == 0 {
		t.Errorf("it started: %s", r.out)
	}
	if m := b.inspect("b"); m.State != "Stopped" || m.Cause != "launch-failed" {
		t.Errorf("%+v", m)
	}
	b.ok("rm", "b")
}
