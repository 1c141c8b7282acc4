//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Limits of liveness, not of speed: this machine may be busy with other tests.
const (
	restTime = 150 * time.Second
	boredom  = 8 * time.Second // then a person starts what waits for its back-off
)

// enginePID finds the engine of this home without asking it, 0 = none.
func (b *bed) enginePID() int {
	b.t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		b.t.Fatal(err)
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		comm, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "comm"))
		env, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "environ"))
		if string(comm) == "arcbox-engine\n" && !dead(pid) && bytes.Contains(env, []byte("ARCBOX_HOME="+b.home+"\x00")) {
			return pid
		}
	}
	return 0
}

// atRest waits until nothing is on its way, by the journal, the list, the
// processes and the directories.
func (c *chaos) atRest(what string) {
	c.t.Helper()
	began := time.Now()
	bored := map[string]bool{}
	for {
		unrest := c.unrest(bored, time.Since(began) > boredom)
		if unrest == "" {
			break
		}
		if c.t.Failed() || time.Since(began) > restTime {
			c.tally.stuck++
			c.t.Errorf("%s: not at rest after %s: %s", what, time.Since(began).Round(time.Second), unrest)
			for _, g := range guestsOf {
				c.t.Logf("%s", c.run("journal", "why", g.name).out)
			}
			c.t.FailNow()
		}
		<-time.After(50 * time.Millisecond)
	}
	c.tally.restMax = max(c.tally.restMax, time.Since(began))
}

// unrest is the first thing that is on its way, "" for none.
func (c *chaos) unrest(bored map[string]bool, long bool) string {
	c.t.Helper()
	e := c.engine()
	c.pid = e.PID
	listed := c.list()
	c.read()
	if e.Unrepaired != 0 {
		return fmt.Sprintf("%d machines not looked at", e.Unrepaired)
	}
	ids := map[string]bool{}
	for _, m := range c.books.machines {
		if why := m.owes(); why != "" {
			if m.plan && long && !bored[m.id] {
				bored[m.id] = true
				c.run("start", m.name)
			}
			return m.name + ": " + why
		}
		if m.state == "Removed" {
			continue
		}
		ids[m.id] = true
		if why := c.disagree(m, listed[m.name]); why != "" {
			return m.name + ": " + why
		}
	}
	if len(listed) != len(ids) {
		return fmt.Sprintf("%d machines are listed, the journal knows %d", len(listed), len(ids))
	}
	return c.leftovers(ids)
}

// disagree compares the books with the list and with the processes.
func (c *chaos) disagree(m *story, v machineView) string {
	c.t.Helper()
	if v.ID != m.id || v.State != m.state {
		return fmt.Sprintf("the journal says %s, the list %s", m.state, v.State)
	}
	if v.Health != "ok" {
		return "health " + v.Health + ": " + v.HealthWhy
	}
	want := 0
	if m.state == "Running" {
		want = 1
		if c.books.cids[v.CID] != m.id {
			return fmt.Sprintf("the list shows CID %d, which is %q's by the journal", v.CID, c.books.cids[v.CID])
		}
	}
	for _, program := range c.programs {
		if hs := c.holders(program, m.id); len(hs) != want {
			return fmt.Sprintf("it is %s, and %d processes %s live", m.state, len(hs), program)
		}
	}
	return ""
}

// leftovers are directories and processes of machines that are no more.
func (c *chaos) leftovers(ids map[string]bool) string {
	c.t.Helper()
	for _, h := range c.holders("", "") {
		if !ids[h.machine] {
			return fmt.Sprintf("%s %d lives on without a machine", h.program, h.pid)
		}
	}
	dirs, _ := filepath.Glob(filepath.Join(c.home, "data", "machines", "*"))
	for _, dir := range dirs {
		if !ids[filepath.Base(dir)] {
			return "the directory of a removed machine is left: " + dir
		}
	}
	runs, _ := filepath.Glob(filepath.Join(c.home, "run", "m", "*"))
	if len(runs) > len(ids) {
		return fmt.Sprintf("%d run directories for %d machines", len(runs), len(ids))
	}
	return ""
}

// witness is a client that has followed the journal all the time, over the
// deaths of the engines.
type witness struct {
	cancel context.CancelFunc
	over   chan struct{}
	mu     sync.Mutex
	seen   []record
}

func (b *bed) followJournal() *witness {
	b.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	w := &witness{cancel: cancel, over: make(chan struct{})}
	cmd := b.command(ctx, "journal", "-f", "--format", "json", "--limit", "1000")
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		b.t.Fatal(err)
	}
	go func() {
		defer close(w.over)
		for lines := json.NewDecoder(bufio.NewReader(out)); ; {
			var r record
			if lines.Decode(&r) != nil {
				break
			}
			r.Fact = nil // an hour of them
			w.mu.Lock()
			w.seen = append(w.seen, r)
			w.mu.Unlock()
		}
		_ = cmd.Wait()
	}()
	return w
}

func (w *witness) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.seen)
}

// descriptors and memory of a process, as the kernel counts them.
func descriptors(pid int) int {
	fds, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	return len(fds)
}

func residentKiB(pid int) int {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	var n int
	_, _ = fmt.Sscan(rest, &n)
	return n
}
