//go:build e2e

package e2e

import (
	"strings"
	"sync"
	"testing"
)

// TestCIDs: a CID is not computed from a count, and the guest sees the one
// that inspect shows.
func TestCIDs(t *testing.T) {
	b := newBed(t)
	cid := func(name string) (got struct {
		CID uint32 `json:"cid"`
	}) {
		b.into(&got, "inspect", name)
		return got
	}
	for _, name := range []string{"a", "b", "c"} {
		b.ok("create", name, "--memory", "256", "--cpus", "1")
	}
	b.ok("start", "a")
	b.ok("start", "b")
	b.ok("stop", "a")
	b.ok("start", "c")
	if cid("b").CID == cid("c").CID {
		t.Errorf("b and c have one CID: %d", cid("b").CID)
	}
	var info struct {
		CID uint32 `json:"cid"`
	}
	b.into(&info, "info", "c")
	if info.CID != cid("c").CID {
		t.Errorf("the guest sees CID %d, inspect shows %d", info.CID, cid("c").CID)
	}
}

// TestOneNameOneWinner: many who create one name at once.
func TestOneNameOneWinner(t *testing.T) {
	b := newBed(t)
	b.ok("engine", "start")
	const many = 50
	codes := make([]int, many)
	var all sync.WaitGroup
	for i := range codes {
		all.Go(func() { codes[i] = b.run("create", "web").code })
	}
	all.Wait()
	won, lost := 0, 0
	for _, c := range codes {
		switch c {
		case 0:
			won++
		case 4:
			lost++
		}
	}
	if won != 1 || lost != many-1 {
		t.Errorf("%d won, %d lost with exit 4; codes %v", won, lost, codes)
	}
}

// TestFaults: guests that panic, never answer, or ignore a shutdown.
func TestFaults(t *testing.T) {
	b := newBed(t)
	b.ok("create", "mute", "--memory", "256", "--cpus", "1", "--cmdline", "arcbox.test=no-agent")
	r := b.run("start", "mute", "--timeout", "12s")
	if r.code != 1 || !strings.Contains(r.err, "agent-timeout") {
		t.Errorf("start of a guest without an agent: exit %d, %s", r.code, r.err)
	}
	b.ok("create", "stubborn", "--memory", "256", "--cpus", "1", "--cmdline", "arcbox.test=ignore-shutdown")
	b.ok("start", "stubborn")
	if r := b.run("stop", "stubborn", "--no-kill", "--timeout", "3s"); r.code != 5 {
		t.Errorf("stop --no-kill: exit %d", r.code)
	}
	if r := b.run("stop", "stubborn", "--timeout", "3s"); r.code != 0 || !strings.Contains(r.err, "killed") {
		t.Errorf("stop of a guest that ignores it: exit %d, %q", r.code, r.err)
	}
}

// TestPowerOffUnseen: a guest that powers itself off while no engine runs.
func TestPowerOffUnseen(t *testing.T) {
	b := newBed(t)
	b.ok("create", "a", "--memory", "256", "--cpus", "1", "--restart", "on-failure")
	b.ok("start", "a")
	b.run("exec", "a", "--", "sh", "-c", "(sleep 2; poweroff) >/dev/null 2>&1 &")
	b.ok("engine", "stop")
	b.ok("engine", "start")
	b.ok("wait", "a", "stopped", "--timeout", "30s")
	if why := b.ok("journal", "why", "a"); !strings.Contains(why, "powered-off") {
		t.Errorf("why: %s", why)
	}
}
