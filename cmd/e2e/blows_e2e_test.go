//go:build e2e

package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"syscall"
	"time"
)

// blow is one way to hurt the processes of an engine.
type blow struct {
	name   string
	strike func(c *chaos, ops []*operation) hits
}

// hits says what a blow reached.
type hits struct {
	engines  int                // killed
	machines map[string]wound   // by id
	sight    map[string][2]bool // by id: VM host and hypervisor lived when the engine was dead
	paused   bool               // something stood still for a while
}

// wound is what a signal did to a VM.
type wound struct {
	program string
	sig     syscall.Signal
}

func (h hits) String() string {
	var out []string
	if h.engines > 0 {
		out = append(out, fmt.Sprintf("%d engines", h.engines))
	}
	for id, w := range h.machines {
		out = append(out, w.program+" of "+id)
	}
	if len(out) == 0 {
		return "no VM"
	}
	return strings.Join(out, ", ")
}

// draw chooses a blow, most often the death of the engine.
func (c *chaos) draw(dice *rand.Rand) blow {
	alive := dice.IntN(2) == 0 // the clients stay, and go on with the next engine
	gap := time.Duration(100+dice.IntN(2000)) * time.Millisecond
	victim := dice.Uint64()
	program := c.programs[dice.IntN(len(c.programs))]
	switch n := dice.IntN(100); {
	case n < 30:
		return blow{"kill -9 engine", func(c *chaos, ops []*operation) hits { return c.killEngines(ops, alive, 1, gap) }}
	case n < 60:
		times := 2 + dice.IntN(2)
		return blow{fmt.Sprintf("kill -9 engine, %d times", times), func(c *chaos, ops []*operation) hits {
			return c.killEngines(ops, alive, times, gap/4)
		}}
	case n < 70:
		return blow{"kill -9 engine and a " + program, func(c *chaos, ops []*operation) hits {
			h := c.killEngines(ops, alive, 0, 0)
			h.machines = c.strikeOne(program, victim, syscall.SIGKILL, 0)
			c.afterDeath(&h)
			return h
		}}
	case n < 75:
		return blow{"SIGTERM engine", func(c *chaos, _ []*operation) hits { return c.endEngine() }}
	case n < 80:
		return blow{fmt.Sprintf("SIGSTOP engine for %s", gap), func(c *chaos, _ []*operation) hits { return c.pauseEngine(gap) }}
	case n < 88:
		return c.vmBlow("kill -9", program, victim, syscall.SIGKILL, 0)
	case n < 96:
		return c.vmBlow(fmt.Sprintf("SIGSTOP for %s", gap), program, victim, syscall.SIGSTOP, gap)
	}
	return c.vmBlow("SIGTERM", program, victim, syscall.SIGTERM, 0)
}

func (c *chaos) vmBlow(what, program string, victim uint64, sig syscall.Signal, gap time.Duration) blow {
	return blow{what + " " + program, func(c *chaos, _ []*operation) hits {
		return hits{machines: c.strikeOne(program, victim, sig, gap), paused: sig == syscall.SIGSTOP}
	}}
}

// strikeOne signals one process of those that live.
func (c *chaos) strikeOne(program string, victim uint64, sig syscall.Signal, gap time.Duration) map[string]wound {
	c.t.Helper()
	hs := c.holders(program, "")
	if len(hs) == 0 {
		return nil
	}
	h := hs[victim%uint64(len(hs))]
	if !c.signal(h, sig) {
		return nil
	}
	c.tally.blows[signalName(sig)+" "+program]++
	switch sig {
	case syscall.SIGSTOP:
		<-time.After(gap)
		c.signal(h, syscall.SIGCONT)
	case syscall.SIGTERM: // a VM host asks the guest first: until then it looks as if nothing had happened
		c.eventually("what got SIGTERM has ended", time.Minute, func() bool { return dead(h.pid) })
	}
	return map[string]wound{h.machine: {program, sig}}
}

func signalName(sig syscall.Signal) string {
	return map[syscall.Signal]string{syscall.SIGKILL: "KILL", syscall.SIGTERM: "TERM", syscall.SIGSTOP: "STOP"}[sig]
}

// killEngines kills the engine, and the next ones, so many in all, each so long
// after it was started: into its boot, or into what it goes on with. 0 = one,
// and the caller starts the next.
func (c *chaos) killEngines(ops []*operation, alive bool, times int, gap time.Duration) hits {
	c.t.Helper()
	c.tally.count(ops)
	c.strikeEngine(syscall.SIGKILL)
	if !alive {
		killClients(ops)
	}
	h := hits{engines: 1}
	if times == 0 {
		return h
	}
	for ; times > 1; times-- {
		next := c.begin(append([]string{"engine", "start"}, c.start...)...)
		<-time.After(gap)
		if pid := c.enginePID(); pid != 0 {
			c.pid = pid
			c.tally.count(ops)
			c.strikeEngine(syscall.SIGKILL)
			h.engines++
		}
		_ = next.wait()
	}
	c.afterDeath(&h)
	return h
}

// afterDeath looks at what lives without an engine, and starts the next one.
func (c *chaos) afterDeath(h *hits) {
	c.t.Helper()
	h.sight = map[string][2]bool{}
	for _, p := range c.holders("", "") {
		s := h.sight[p.machine]
		s[0], s[1] = s[0] || p.program == vmhostProgram, s[1] || p.program == qemuProgram
		h.sight[p.machine] = s
	}
	c.startEngine()
}

func (c *chaos) endEngine() hits {
	c.t.Helper()
	c.strikeEngine(syscall.SIGTERM)
	h := hits{engines: 1}
	c.afterDeath(&h)
	return h
}

func (c *chaos) pauseEngine(gap time.Duration) hits {
	c.t.Helper()
	p, err := os.FindProcess(c.pid)
	if err != nil || p.Signal(syscall.SIGSTOP) != nil {
		c.t.Fatalf("the engine %d is gone: %v", c.pid, err)
	}
	c.tally.blows["STOP engine"]++
	<-time.After(gap)
	if err := p.Signal(syscall.SIGCONT); err != nil {
		c.t.Fatal(err)
	}
	return hits{paused: true}
}

// strikeEngine ends the engine and waits until it is dead.
func (c *chaos) strikeEngine(sig syscall.Signal) {
	c.t.Helper()
	p, err := os.FindProcess(c.pid)
	if err == nil {
		err = p.Signal(sig)
	}
	if err != nil {
		c.t.Fatalf("the engine %d ended by itself: %v", c.pid, err)
	}
	c.tally.blows[signalName(sig)+" engine"]++
	c.eventually("the engine is dead", 30*time.Second, func() bool { return dead(c.pid) })
}

// dead tells whether a process has ended with all its threads, reaped or not:
// while one of them is dying, what the process had open is open.
func dead(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	return err != nil || (len(threads) <= 1 && (strings.HasPrefix(rest, "Z") || strings.HasPrefix(rest, "X")))
}
