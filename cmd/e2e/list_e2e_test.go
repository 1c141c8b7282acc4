//go:build e2e

package e2e

import (
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"
)

// medianList is the median time of twenty lists; each must give all machines.
func medianList(t *testing.T, b *bed, machines int) time.Duration {
	t.Helper()
	took := make([]time.Duration, 20)
	for i := range took {
		began := time.Now()
		got := len(b.list())
		took[i] = time.Since(began)
		if got != machines {
			t.Errorf("list shows %d machines, want %d", got, machines)
		}
	}
	slices.Sort(took)
	return took[len(took)/2]
}

// TestListIsNotDelayed: a VM host that is stopped and an agent that hangs
// delay no list. The bound is a probe's: whatever asked them would wait longer.
func TestListIsNotDelayed(t *testing.T) {
	b := newBed(t)
	b.quiet = true
	for _, name := range []string{"a", "b", "c"} {
		b.ok("create", name, "--memory", "128", "--cpus", "1")
		b.ok("start", name)
	}
	healthy := medianList(t, b, 3)
	host := b.only(vmhostProgram, b.inspect("a").ID)
	b.signal(host, syscall.SIGSTOP)
	guest := b.only(qemuProgram, b.inspect("b").ID) // with it stands its agent
	b.signal(guest, syscall.SIGSTOP)
	sick := medianList(t, b, 3)
	b.signal(guest, syscall.SIGCONT)
	b.signal(host, syscall.SIGCONT)
	report(t, "list: median of 20 with all healthy %s, with a VM host stopped and an agent that hangs %s: %.2f times",
		healthy.Round(100*time.Microsecond), sick.Round(100*time.Microsecond), float64(sick)/float64(healthy))
	if sick > 2*healthy+500*time.Millisecond {
		t.Errorf("a list takes %s with machines that hang, %s without", sick, healthy)
	}
	for _, name := range []string{"a", "b"} {
		b.eventually(name+" is well again", 60*time.Second, func() bool { return b.list()[name].Health == "ok" })
		b.ok("exec", name, "--", "true")
	}
}

// TestManySim: a thousand machines, fifty of them running.
func TestManySim(t *testing.T) {
	b := newBed(t)
	b.quiet = true
	b.ok("engine", "start", "--allow-sim")
	const all, live = 1000, 50
	work := make(chan int)
	done := make(chan struct{})
	for range 8 {
		go func() {
			defer func() { done <- struct{}{} }()
			for i := range work {
				name := fmt.Sprintf("m%d", i)
				if r := b.run("create", name, "--backend", "sim", "--script", "boot=1ms"); r.code != 0 {
					t.Errorf("create %s: %s", name, r.err)
				}
				if i >= live {
					continue
				}
				if r := b.run("start", name); r.code != 0 {
					t.Errorf("start %s: %s", name, r.err)
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
		e := b.engine()
		return e.Unrepaired == 0 && e.Running == live
	})
	b.ok("journal", "verify")
}
