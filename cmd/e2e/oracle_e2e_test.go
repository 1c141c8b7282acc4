//go:build e2e

package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Bounds on what a process may have open at rest, whatever it went through.
const (
	engineFds = 120
	hostFds   = 60
)

// judge holds a round against what must be true.
func (c *chaos) judge(what string, ops []*operation, h hits, before map[string]machineView) {
	c.t.Helper()
	for _, op := range ops {
		c.judgeOperation(what, op, h)
	}
	for _, g := range guestsOf {
		c.judgeEnds(what, before[g.name], h, operationOn(ops, g.name))
	}
	if h.sight != nil {
		c.judgeRepair(what, h)
	}
	for _, g := range guestsOf {
		c.judgeGuest(what, g.name)
	}
	c.readLog(what)
	if n := len(c.books.records); n < 2000 || c.tally.rounds%20 == 0 {
		c.verify(what)
	}
	c.measure(what)
}

func operationOn(ops []*operation, name string) *operation {
	for _, op := range ops {
		if op.name == name {
			return op
		}
	}
	return nil
}

// verify: the journal is whole, to the last record that is known.
func (c *chaos) verify(what string) {
	c.t.Helper()
	var v struct {
		OK      bool   `json:"ok"`
		First   uint64 `json:"first"`
		Last    uint64 `json:"last"`
		Records uint64 `json:"records"`
	}
	r := c.run("journal", "verify", "--format", "json")
	err := json.Unmarshal([]byte(r.out), &v)
	known := uint64(len(c.books.records))
	if r.code != 0 || err != nil || !v.OK || v.First != 1 || v.Records != v.Last || v.Last < known {
		c.t.Errorf("%s: journal verify: exit %d, %s%s; %d records were seen", what, r.code, r.out, r.err, known)
	}
}

// readLog: no part of an engine that was not hurt has panicked.
func (c *chaos) readLog(what string) {
	c.t.Helper()
	log, err := os.ReadFile(filepath.Join(c.home, "log", "engine.log"))
	if err != nil {
		c.t.Fatal(err)
	}
	if len(log) < c.logRead {
		c.logRead = 0 // put aside, and begun anew
	}
	for line := range strings.Lines(string(log[c.logRead:])) {
		if strings.Contains(line, "panic") && !strings.Contains(line, "guest-panic") {
			c.t.Errorf("%s: the engine's log: %s", what, line)
		}
	}
	c.logRead = len(log)
}

// states that an acknowledged verb leads to.
var leadsTo = map[string]string{"start": "Running", "stop": "Stopped", "restart": "Running", "rm": "Removed"}

// judgeOperation: what was acknowledged is in the journal.
func (c *chaos) judgeOperation(what string, op *operation, h hits) {
	c.t.Helper()
	verb := strings.Fields(op.verb)[0]
	r := op.result
	switch {
	case op.killed && r.code != 0:
		return // nobody knows
	case verb == "exec":
		if r.code != 7 && h.engines == 0 && len(h.machines) == 0 && !h.paused {
			c.t.Errorf("%s: exec in %s: exit %d, %s", what, op.name, r.code, r.err)
		}
		return
	case r.code != 0:
		c.judgeRefusal(what, op, h)
		return
	}
	c.tally.acked++
	if h.engines > 0 && !op.killed {
		c.tally.resumed++
	}
	var done struct {
		Seq     uint64
		Machine struct{ ID, State string }
	}
	if err := json.Unmarshal([]byte(r.out), &done); err != nil {
		c.t.Errorf("%s: %s %s printed %q", what, op.verb, op.name, r.out)
		return
	}
	if verb == "rm" && done.Machine.ID == "" { // repeated to an engine that has no such machine any more
		done.Machine.ID, done.Seq = op.id, uint64(len(c.books.records))
	}
	state, known := c.stateAt(done.Machine.ID, done.Seq)
	if !known || (state != leadsTo[verb] && (verb != "stop" || state != "Created")) {
		c.tally.lost++
		c.t.Errorf("%s: %s %s was acknowledged with record %d, after which the journal has it %q", what, op.verb, op.name, done.Seq, state)
	}
	m := c.books.machines[done.Machine.ID]
	if _, hurt := h.machines[done.Machine.ID]; m != nil && !hurt && m.state != leadsTo[verb] && len(m.ends) > 0 && verb != "stop" {
		c.t.Errorf("%s: %s %s was acknowledged, nobody hurt its VM, and it is %s", what, op.verb, op.name, m.state)
	}
}

// judgeRefusal: an operation comes to nothing only where something was hurt.
func (c *chaos) judgeRefusal(what string, op *operation, h hits) {
	c.t.Helper()
	quiet := h.engines == 0 && len(h.machines) == 0
	allowed := []int{1, 4, 6} // the launch failed, a stop overtook it, no engine was there to begin with
	if quiet || !slices.Contains(allowed, op.result.code) {
		c.t.Errorf("%s: %s %s: exit %d, %s", what, op.verb, op.name, op.result.code, op.result.err)
	}
}

// stateAt is a machine's state right behind a record of it.
func (c *chaos) stateAt(id string, seq uint64) (state string, known bool) {
	for _, r := range c.books.records {
		if r.Seq > seq {
			break
		}
		if r.Machine != id {
			continue
		}
		if r.To != "" {
			state = r.To
		}
		known = known || r.Seq == seq || seq == uint64(len(c.books.records))
	}
	return state, known
}

// judgeEnds: a VM ends because it was asked to, or hurt, or never came to be;
// the cause says which. What ran and was left alone runs on.
func (c *chaos) judgeEnds(what string, before machineView, h hits, op *operation) {
	c.t.Helper()
	m := c.books.machines[before.ID]
	if m == nil {
		return
	}
	w, hurt := h.machines[m.id]
	stopped := false
	for _, r := range c.ofRound(m) {
		if r.Kind == "stop-requested" {
			stopped = true
		}
		if r.Kind == "start-requested" {
			stopped = false
		}
		if r.Kind != "exited" && r.Kind != "repaired" {
			continue
		}
		cause := r.text("cause")
		allowed := []string{"launch-failed"}
		if r.text("cause") == "agent-timeout" { // true on a busy host; how often is told
			c.tally.slow++
			allowed = append(allowed, "agent-timeout")
		}
		if before.State == "Running" && r.Launch == before.Launch {
			allowed = nil
		}
		if stopped {
			allowed = append(allowed, "stopped", "killed", "powered-off", "launch-failed")
		}
		if hurt {
			allowed = append(allowed, woundCauses(w)...)
		}
		if !slices.Contains(allowed, cause) {
			c.t.Errorf("%s: %s of %s says %s, %v; it can only be %v", what, r.Kind, m.name, cause, r.Fact, allowed)
		}
	}
	if before.State == "Running" && !hurt && !slices.Contains(m.kinds, "stop-requested") {
		if m.state != "Running" || len(m.ends) > 0 {
			c.t.Errorf("%s: %s ran, nobody stopped or hurt it, and now: %s, %v", what, m.name, m.state, m.kinds)
		}
		c.tally.survived++
	}
	if op == nil && before.State != "Running" && m.state != before.State {
		c.t.Errorf("%s: nobody asked anything of %s, and it went from %s to %s", what, m.name, before.State, m.state)
	}
}

// woundCauses are the causes that tell the truth about a wound.
func woundCauses(w wound) []string {
	switch {
	case w.sig == syscall.SIGSTOP:
		return nil // it goes on
	case w.program == vmhostProgram && w.sig == syscall.SIGKILL:
		return []string{"killed", "launch-failed"}
	case w.program == vmhostProgram: // asks the guest, then kills
		return []string{"powered-off", "killed", "launch-failed"}
	}
	return []string{"crashed", "killed", "launch-failed"}
}

// ofRound are the records of a machine in this round.
func (c *chaos) ofRound(m *story) []record {
	var out []record
	for i := len(c.books.records) - 1; i >= 0 && len(out) < len(m.kinds); i-- {
		if c.books.records[i].Machine == m.id {
			out = append(out, c.books.records[i])
		}
	}
	slices.Reverse(out)
	return out
}

// judgeRepair is Table 2: what the engine that came next said of each machine,
// against what lived while there was none.
func (c *chaos) judgeRepair(what string, h hits) {
	c.t.Helper()
	for _, m := range c.books.machines {
		state, first := c.atBoot(m)
		if !live(state) {
			continue
		}
		lived := h.sight[m.id]
		_, hurt := h.machines[m.id]
		switch first.Kind {
		case "adopted":
			c.tally.adopted++
			if !lived[0] {
				c.t.Errorf("%s: %s was adopted, and had no VM host", what, m.name)
			}
		case "exited", "repaired":
			c.tally.repaired++
			if state == "Running" && lived[0] && (lived[1] || len(c.programs) == 1) && !hurt {
				c.t.Errorf("%s: %s lived without an engine, and the next one said %s %v", what, m.name, first.Kind, first.Fact)
			}
		}
	}
}

// atBoot is a machine's state when the engine of this round booted, and the
// first record after that.
func (c *chaos) atBoot(m *story) (state string, first record) {
	rs := c.books.records
	boot := len(rs) - 1
	for boot > 0 && rs[boot].Kind != "engine-started" {
		boot--
	}
	for i, r := range rs {
		if r.Machine != m.id {
			continue
		}
		if i < boot && r.To != "" {
			state = r.To
		}
		if i > boot {
			return state, r
		}
	}
	return state, record{}
}

// judgeGuest asks a guest that runs what it has been through.
func (c *chaos) judgeGuest(what, name string) {
	c.t.Helper()
	m, g := c.books.named(name), c.guests[name]
	if g != nil && (m == nil || m.state != "Running" || m.boot != g.boot) {
		if err := g.over(); err != nil {
			c.t.Errorf("%s: %s: %v", what, name, err)
		}
		c.tally.lines += g.lines
		delete(c.guests, name)
		g = nil
	}
	if m == nil || m.state != "Running" {
		return
	}
	if g == nil {
		fresh, err := c.beginGuestLog(name, len(c.programs) > 1)
		if err != nil {
			c.t.Errorf("%s: %s: %v", what, name, err)
			return
		}
		if fresh.boot != m.boot {
			c.t.Errorf("%s: %s says boot id %s, the journal's ready %s", what, name, fresh.boot, m.boot)
		}
		c.guests[name] = fresh
		return
	}
	if boot, err := c.look(name, g); err != nil || boot != g.boot {
		c.t.Errorf("%s: %s: boot id %s, was %s: %v", what, name, boot, g.boot, err)
	}
}

// measure looks for what piles up.
func (c *chaos) measure(what string) {
	c.t.Helper()
	engine := 0
	for range 20 { // what was asked last is being closed
		if engine = descriptors(c.pid); engine <= engineFds {
			break
		}
		<-time.After(100 * time.Millisecond)
	}
	c.tally.fdMax, c.tally.rssMax = max(c.tally.fdMax, engine), max(c.tally.rssMax, residentKiB(c.pid))
	if engine > engineFds {
		c.t.Errorf("%s: the engine at rest has %d descriptors", what, engine)
	}
	for _, h := range c.holders(vmhostProgram, "") {
		n := descriptors(h.pid)
		c.tally.hostFds = max(c.tally.hostFds, n)
		if n > hostFds {
			c.t.Errorf("%s: the VM host of %s at rest has %d descriptors", what, h.machine, n)
		}
	}
}

// settleAccounts: whoever followed the journal all the time saw every record,
// once, in order.
func (c *chaos) settleAccounts(w *witness) {
	c.t.Helper()
	c.read()
	c.verify("in the end")
	c.eventually("the follower has seen all", 30*time.Second, func() bool { return w.count() >= len(c.books.records) })
	w.cancel()
	<-w.over
	for i, r := range w.seen {
		known := c.books.records[min(i, len(c.books.records)-1)]
		if r.Seq != uint64(i+1) || r.Kind != known.Kind || r.Machine != known.Machine {
			c.t.Errorf("what journal -f said at line %d is record %d, %s; the journal has %d, %s", i+1, r.Seq, r.Kind, known.Seq, known.Kind)
			return
		}
	}
}
