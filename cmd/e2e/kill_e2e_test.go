//go:build e2e

package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// machineView is what inspect says, as far as these tests ask.
type machineView struct {
	Name  string `json:"name"`
	ID    string `json:"id"`
	State string `json:"state"`
	Cause string `json:"cause"`
	Dir   string `json:"dir"`
	CID   uint32 `json:"cid"`
}

func (b *bed) list() map[string]machineView {
	b.t.Helper()
	var all []machineView
	b.into(&all, "list")
	out := map[string]machineView{}
	for _, m := range all {
		out[m.Name] = m
	}
	return out
}

// holders are the processes whose command line names this home: VM hosts and
// hypervisors, by program name.
func (b *bed) holders(program string) []int {
	b.t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		b.t.Fatal(err)
	}
	var pids []int
	for _, e := range entries {
		var pid int
		if _, err := fmt.Sscan(e.Name(), &pid); err != nil {
			continue
		}
		comm, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "comm"))
		if !strings.HasPrefix(string(comm), program) {
			continue
		}
		fds, _ := filepath.Glob(filepath.Join("/proc", e.Name(), "fd", "*"))
		for _, fd := range fds {
			if to, _ := os.Readlink(fd); strings.HasPrefix(to, b.home) && strings.HasSuffix(to, "/lock") {
				pids = append(pids, pid)
				break
			}
		}
	}
	return pids
}

// eventually waits for a condition, bounded.
func (b *bed) eventually(what string, limit time.Duration, ok func() bool) {
	b.t.Helper()
	deadline := time.Now().Add(limit)
	for !ok() {
		if time.Now().After(deadline) {
			b.t.Fatalf("not within %s: %s", limit, what)
		}
		<-time.After(100 * time.Millisecond)
	}
}

// TestEngineKilledAtRandomMoments: the engine dies a hundred times in the
// middle of things. Each time the next engine brings the machine to rest by
// itself, and no hypervisor is left that the list does not show.
func TestEngineKilledAtRandomMoments(t *testing.T) {
	b := newBed(t)
	rounds := 100
	dice := rand.New(rand.NewPCG(1, uint64(time.Now().UnixNano())))
	b.ok("create", "a", "--memory", "128", "--cpus", "1")
	for round := range rounds {
		if _, there := b.list()["a"]; !there {
			b.ok("create", "a", "--memory", "128", "--cpus", "1")
		}
		verb := [][]string{{"start", "a"}, {"stop", "a", "--timeout", "5s"}, {"restart", "a"}, {"rm", "-f", "a"}, {"start", "a"}}[dice.IntN(5)]
		cmd := exec.Command(filepath.Join(os.Getenv("ARCBOX_BIN"), "arcbox"), append(verb, "--no-autostart")...)
		cmd.Env = append(os.Environ(), "ARCBOX_HOME="+b.home)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Duration(dice.IntN(1500)) * time.Millisecond)
		b.killEngine()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		b.ok("engine", "start")
		b.eventually(fmt.Sprintf("round %d, %v: at rest", round, verb), 90*time.Second, func() bool { return b.atRest() })
		running := 0
		for _, m := range b.list() {
			if m.State == "Running" {
				running++
			}
		}
		if qemus := b.holders("qemu"); len(qemus) != running {
			t.Fatalf("round %d, %v: %d run by the list, hypervisors %v", round, verb, running, qemus)
		}
	}
	b.ok("journal", "verify")
}

// atRest tells whether nothing is on its way.
func (b *bed) atRest() bool {
	for _, m := range b.list() {
		if m.State != "Running" && m.State != "Stopped" && m.State != "Created" {
			return false
		}
	}
	return len(b.holders("qemu")) == len(b.holders("arcbox-vmhost"))
}

// TestStoppedProcesses: a VM host, then a hypervisor, that got SIGSTOP. Stop
// and removal end within five seconds, and leave nothing.
func TestStoppedProcesses(t *testing.T) {
	b := newBed(t)
	for _, program := range []string{"arcbox-vmhost", "qemu"} {
		for _, verb := range [][]string{{"stop", "a", "--kill"}, {"rm", "-f", "a"}} {
			b.run("create", "a", "--memory", "128", "--cpus", "1")
			b.ok("start", "a")
			pids := b.holders(program)
			if len(pids) != 1 {
				t.Fatalf("%s: %v", program, pids)
			}
			if err := syscall.Kill(pids[0], syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			b.ok(verb...)
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("%s stopped, %v: took %s", program, verb, took)
			}
			if left := append(b.holders("qemu"), b.holders("arcbox-vmhost")...); len(left) != 0 {
				t.Errorf("%s stopped, %v: %v left", program, verb, left)
			}
		}
	}
}

// TestKilledHosts: VM hosts that die with kill -9, alone and with the engine.
func TestKilledHosts(t *testing.T) {
	b := newBed(t)
	for _, name := range []string{"a", "b"} {
		b.ok("create", name, "--memory", "128", "--cpus", "1")
		b.ok("start", name)
	}
	kill := func(name string) {
		dir := b.list()[name]
		for _, pid := range b.holders("arcbox-vmhost") {
			fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
			for _, fd := range fds {
				if to, _ := os.Readlink(fd); strings.Contains(to, dir.ID) {
					_ = syscall.Kill(pid, syscall.SIGKILL)
				}
			}
		}
	}
	boot := b.ok("exec", "b", "--", "cat", "/proc/sys/kernel/random/boot_id")
	kill("a")
	b.eventually("a is Stopped", 2*time.Second, func() bool { return b.list()["a"].State == "Stopped" })
	if again := b.ok("exec", "b", "--", "cat", "/proc/sys/kernel/random/boot_id"); again != boot {
		t.Error("b was touched")
	}
	b.killEngine()
	kill2 := b.holders("arcbox-vmhost")
	for _, pid := range kill2 {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	b.ok("engine", "start")
	b.ok("wait", "b", "stopped", "--timeout", "20s")
	got := kinds(b.journal("b"))
	if got[len(got)-1] != "repaired" {
		t.Errorf("journal of b: %v", got)
	}
	b.ok("start", "b")
	began := time.Now()
	go b.run("start", "a")
	b.eventually("a starts", 10*time.Second, func() bool { return b.list()["a"].State == "Starting" })
	b.ok("rm", "-f", "a")
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("rm -f while Starting: %s", took)
	}
}

// TestManySim: a thousand machines, fifty of them running.
func TestManySim(t *testing.T) {
	b := newBed(t)
	b.ok("engine", "start", "--allow-sim")
	const all, live = 1000, 50
	work := make(chan int)
	done := make(chan struct{})
	for range 8 {
		go func() {
			defer func() { done <- struct{}{} }()
			for i := range work {
				b.ok("create", fmt.Sprintf("m%d", i), "--backend", "sim", "--script", "boot=1ms")
				if i < live {
					b.ok("start", fmt.Sprintf("m%d", i))
				}
			}
		}()
	}
	for i := range all {
		work <- i
	}
	close(work)
	for range 8 {
		<-done
	}
	running := 0
	for _, m := range b.list() {
		if m.State == "Running" {
			running++
		}
	}
	if running != live {
		t.Errorf("%d run", running)
	}
	b.killEngine()
	b.ok("engine", "start", "--allow-sim")
	b.eventually("adopted", 20*time.Second, func() bool {
		var status struct {
			Unrepaired int `json:"unrepaired"`
			Running    int `json:"running"`
		}
		b.into(&status, "engine", "status")
		return status.Unrepaired == 0 && status.Running == live
	})
	b.ok("journal", "verify")
}
