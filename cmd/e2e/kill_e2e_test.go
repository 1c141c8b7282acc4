//go:build e2e

package e2e

import (
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMachinesOutliveTheEngine: kill -9 of the engine with two VMs running.
// The next one adopts them; the guests notice nothing.
func TestMachinesOutliveTheEngine(t *testing.T) {
	b := newBed(t)
	boots := map[string]string{}
	for _, name := range []string{"a", "b"} {
		b.ok("create", name, "--memory", "128", "--cpus", "1")
		b.ok("start", name)
		boots[name] = b.bootID(name)
	}
	b.killEngine()
	b.ok("engine", "start")
	for name, boot := range boots {
		if again := b.bootID(name); again != boot {
			t.Errorf("boot id of %s: %s, before: %s", name, again, boot)
		}
		got := kinds(b.journal(name))
		if want := []string{"created", "start-requested", "launched", "ready", "adopted"}; !slices.Equal(got, want) {
			t.Errorf("journal of %s: %v, want %v", name, got, want)
		}
		b.why(t, name, "Running", "its agent answered")
	}
	b.ok("journal", "verify")
}

// TestKilledHosts: VM hosts that die with kill -9, alone and with the engine.
func TestKilledHosts(t *testing.T) {
	b := newBed(t)
	for _, name := range []string{"a", "b"} {
		b.ok("create", name, "--memory", "128", "--cpus", "1")
		b.ok("start", name)
	}
	boot, a := b.bootID("b"), b.inspect("a")
	before := b.journal("b")
	b.signal(b.only(vmhostProgram, a.ID), syscall.SIGKILL)
	took := b.eventually("a is Stopped", 10*time.Second, func() bool { return b.list()["a"].State == "Stopped" })
	if took > 2*time.Second {
		t.Errorf("a was Stopped %s after the death of its VM host", took)
	}
	if a = b.inspect("a"); a.Cause != "killed" {
		t.Errorf("its cause is %q", a.Cause)
	}
	b.nothingLeft(t, "kill -9 of its VM host", b.inspect("a"), false)
	b.why(t, "a", "killed", "VM host ended without leaving a note")
	if b.bootID("b") != boot || len(b.journal("b")) != len(before) {
		t.Errorf("b was touched: %v", kinds(b.journal("b")))
	}

	m := b.inspect("b")
	b.killEngine()
	b.signal(b.only(vmhostProgram, m.ID), syscall.SIGKILL)
	b.ok("engine", "start")
	b.ok("wait", "b", "stopped", "--timeout", "20s")
	rs := b.journal("b")
	if end := rs[len(rs)-1]; end.Kind != "repaired" || end.text("cause") != "killed" {
		t.Errorf("the last record of b is %s %v", end.Kind, end.Fact)
	}
	b.why(t, "b", "killed", "the machine's lock was free")
	b.nothingLeft(t, "kill -9 of engine and VM host", m, false)
	b.ok("start", "b")
	if b.bootID("b") == boot {
		t.Error("b runs with the boot id of a VM that was killed")
	}
	b.ok("journal", "verify")
}

// TestKilledHypervisor: QEMU dies, its VM host lives to say so.
func TestKilledHypervisor(t *testing.T) {
	b := newBed(t)
	b.ok("create", "a", "--memory", "128", "--cpus", "1", "--restart", "on-failure")
	b.ok("start", "a")
	boot, m := b.bootID("a"), b.inspect("a")
	b.signal(b.only(qemuProgram, m.ID), syscall.SIGKILL)
	b.eventually("it is recorded", 10*time.Second, func() bool { return last(b.journal("a"), "exited").Seq != 0 })
	if end := last(b.journal("a"), "exited"); end.text("cause") != "crashed" || !strings.Contains(end.text("detail"), "signal: killed") {
		t.Errorf("exited says %v; want crashed, by a signal", end.Fact)
	}
	b.ok("wait", "a", "running", "--timeout", "60s") // on-failure starts it again
	if b.bootID("a") == boot {
		t.Error("it runs with the boot id of a VM that is dead")
	}
	if start := last(b.journal("a"), "start-requested"); start.Reason != "policy" || start.Principal != "engine" {
		t.Errorf("it was started by %s (%s)", start.Principal, start.Reason)
	}
}
