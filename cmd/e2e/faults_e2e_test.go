//go:build e2e

package e2e

import (
	"encoding/json"
	"strings"
	"syscall"
	"testing"
	"time"
)

// why fails where the explanation of a machine's state lacks one of the words.
func (b *bed) why(t *testing.T, name string, words ...string) {
	t.Helper()
	r := b.run("journal", "why", name)
	sentence, _, _ := strings.Cut(r.out, "\n")
	for _, w := range words {
		if r.code != 0 || !strings.Contains(sentence, w) {
			t.Errorf("why %s: exit %d, %q; want %q in it", name, r.code, sentence, w)
		}
	}
}

// TestStubbornGuest: a guest that ignores its shutdown.
func TestStubbornGuest(t *testing.T) {
	b := newBed(t)
	b.ok("create", "a", "--memory", "128", "--cpus", "1", "--cmdline", "arcbox.test=ignore-shutdown")
	starting := b.begin("start", "a")
	b.eventually("a starts", 20*time.Second, func() bool { return b.list()["a"].State == "Starting" })
	if r := b.run("stop", "a", "--no-kill"); r.code != 4 {
		t.Errorf("stop --no-kill while Starting: exit %d, %q; want 4", r.code, r.err)
	}
	if r := starting.wait(); r.code != 0 {
		t.Fatalf("start, after a stop that was refused: exit %d, %s", r.code, r.err)
	}
	boot := b.bootID("a")

	r := b.run("stop", "a", "--no-kill", "--timeout", "3s")
	if r.code != 5 || !strings.Contains(r.err, "Running") {
		t.Errorf("stop --no-kill: exit %d, %q; want 5, and that it is Running", r.code, r.err)
	}
	if m := b.inspect("a"); m.State != "Running" || m.Desired != "running" || !strings.Contains(m.HealthWhy, "shutdown was begun") {
		t.Errorf("after stop --no-kill it is %s, %s, %q", m.State, m.Desired, m.HealthWhy)
	}
	if b.bootID("a") != boot {
		t.Error("stop --no-kill touched the guest")
	}
	b.why(t, "a", "Running", "a shutdown was begun and not finished")

	began := time.Now()
	r = b.run("stop", "a", "--timeout", "3s", "--format", "json")
	took := time.Since(began)
	var done struct{ Killed bool }
	if err := json.Unmarshal([]byte(r.out), &done); r.code != 0 || err != nil || !done.Killed || !strings.Contains(r.err, "had to be killed") {
		t.Errorf("stop of a guest that ignores it: exit %d, %q, %q; want that it had to be killed", r.code, r.out, r.err)
	}
	if took < 3*time.Second {
		t.Errorf("it was killed after %s, before its time was over", took)
	}
	m := b.inspect("a")
	if m.State != "Stopped" || m.Cause != "killed" {
		t.Errorf("it is %s, %s", m.State, m.Cause)
	}
	b.nothingLeft(t, "a stop that killed", m, false)
	b.why(t, "a", "killed", "root asked it to stop")
	r = b.run("stop", "a")
	if r.code != 0 || !strings.Contains(r.err, "stopped already") {
		t.Errorf("stop of a stopped machine: exit %d, %q; want 0 and a note", r.code, r.err)
	}
	b.ok("journal", "verify")
}

// TestRemovedWhileStarting: rm -f does not wait for a boot.
func TestRemovedWhileStarting(t *testing.T) {
	b := newBed(t)
	b.ok("create", "a", "--memory", "128", "--cpus", "1", "--cmdline", "arcbox.test=no-agent")
	starting := b.begin("start", "a")
	b.eventually("its VM boots", 20*time.Second, func() bool { return len(b.holders(qemuProgram, "")) == 1 })
	m := b.inspect("a")
	if m.State != "Starting" {
		t.Fatalf("it is %s", m.State)
	}
	if r := b.run("rm", "a"); r.code != 7 {
		t.Errorf("rm while Starting: exit %d, %q; want 7", r.code, r.err)
	}
	began := time.Now()
	b.ok("rm", "-f", "a")
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("rm -f while Starting took %s", took)
	}
	if r := starting.wait(); r.code != 4 {
		t.Errorf("the start that was overtaken: exit %d, %q; want 4", r.code, r.err)
	}
	b.nothingLeft(t, "rm -f while Starting", m, true)
	b.why(t, "a", "Removed")
}

// TestStoppedProcesses: a VM host, then a hypervisor, that got SIGSTOP. Stop
// and removal end within five seconds, leave nothing, and tell the truth.
func TestStoppedProcesses(t *testing.T) {
	b := newBed(t)
	for _, program := range []string{vmhostProgram, qemuProgram} {
		for _, verb := range [][]string{{"stop", "a", "--kill"}, {"rm", "-f", "a"}} {
			b.run("create", "a", "--memory", "128", "--cpus", "1")
			b.ok("start", "a")
			m := b.inspect("a")
			if !b.signal(b.only(program, m.ID), syscall.SIGSTOP) {
				t.Fatalf("%s is gone", program)
			}
			began := time.Now()
			b.ok(verb...)
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("%s stopped, %v: took %s", program, verb, took)
			}
			removed := verb[0] == "rm"
			b.nothingLeft(t, program+" stopped, "+verb[0], m, removed)
			if removed {
				b.why(t, "a", "Removed")
			} else {
				b.why(t, "a", "killed", "root asked for it to be killed")
			}
		}
	}
	b.ok("journal", "verify")
}

// TestPowerOffUnseen: a guest that powers itself off while no engine runs has
// powered off; on-failure does not start it again.
func TestPowerOffUnseen(t *testing.T) {
	b := newBed(t)
	b.ok("create", "a", "--memory", "128", "--cpus", "1", "--restart", "on-failure")
	b.ok("start", "a")
	m := b.inspect("a")
	b.ok("exec", "a", "--", "sh", "-c", "(sleep 2; poweroff) >/dev/null 2>&1 &")
	b.ok("engine", "stop")
	b.eventually("the guest has powered off", 30*time.Second, func() bool { return len(b.holders("", m.ID)) == 0 })
	b.why(t, "a", "a was Running when the last engine ended", "Its health is unknown: no engine runs")
	b.ok("engine", "start")
	b.ok("wait", "a", "stopped", "--timeout", "30s")
	rs := b.journal("a")
	if end := rs[len(rs)-1]; end.Kind != "exited" || end.text("cause") != "powered-off" || end.Fact["note"] != true {
		t.Errorf("the last record is %s %v; want exited, powered-off, from the note", end.Kind, end.Fact)
	}
	m = b.inspect("a")
	if len(m.Owed) != 0 || m.State != "Stopped" || m.Cause != "powered-off" {
		t.Errorf("it is %s, %s, and owes %v", m.State, m.Cause, m.Owed)
	}
	b.why(t, "a", "powered-off", "powered itself off; nobody had asked the engine for that. No engine ran at that time")
	// Longer than the first back-off: nothing starts it.
	if r := b.run("wait", "a", "running", "--timeout", "3s"); r.code != 5 {
		t.Errorf("wait running: exit %d, want 5: on-failure starts nothing that powered off", r.code)
	}
	if got := len(b.journal("a")); got != len(rs) {
		t.Errorf("%d records became %d: %v", len(rs), got, kinds(b.journal("a")))
	}
}
