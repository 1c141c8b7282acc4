//go:build e2e

package e2e

import (
	"fmt"
	"maps"
	"slices"
)

// books is all that the journal has said, read by an oracle that knows the
// three tables by itself: it shares no code with the engine.
type books struct {
	records  []record          // seq 1, 2, 3 …
	machines map[string]*story // by id
	cids     map[uint32]string // who holds a CID, by what the journal says
	wrong    []string          // what must not be
}

// story is one machine's.
type story struct {
	id, name, state string
	policy, desired string
	launched        bool   // of this launch: a VM host answered
	boot            string // the guest's, of the last ready
	then            string // what follows the stop under way
	stopped         bool   // a stop of this launch is recorded
	cause           string // of the last end
	plan            bool   // the policy starts it again
	resting         bool
	unseen          bool     // an engine has booted since, and not looked at it yet
	stray           bool     // a VM runs that should not
	ends            []record // exited and repaired, since the round began
	kinds           []string // all, since the round began
}

func newBooks() *books {
	return &books{machines: map[string]*story{}, cids: map[uint32]string{}}
}

// moves is Table 1: kind, then from which states, then where to; "" = nowhere.
var moves = map[string]struct {
	from []string
	to   string
}{
	"created":         {[]string{""}, "Created"},
	"start-requested": {[]string{"Created", "Stopped"}, "Starting"},
	"relaunched":      {[]string{"Starting"}, "Starting"},
	"ready":           {[]string{"Starting"}, "Running"},
	"stop-requested":  {[]string{"Starting", "Running"}, "Stopping"},
	"stop-abandoned":  {[]string{"Stopping"}, "Running"},
	"exited":          {[]string{"Starting", "Running", "Stopping"}, "Stopped"},
	"repaired":        {[]string{"Starting", "Running", "Stopping"}, "Stopped"},
	"removed":         {[]string{"Created", "Stopped"}, "Removed"},
	"launched":        {[]string{"Starting", "Stopping"}, ""},
	"adopted":         {[]string{"Starting", "Running", "Stopping"}, ""},
	"rebooted":        {[]string{"Running", "Stopping"}, ""},
	"desired-changed": {[]string{"Created", "Starting", "Running", "Stopping", "Stopped"}, ""},
	"stop-tightened":  {[]string{"Stopping"}, ""},
	"health-changed":  {[]string{"Created", "Starting", "Running", "Stopping", "Stopped"}, ""},
	"stray-found":     {[]string{"Created", "Stopped"}, ""},
	"stray-gone":      {[]string{"Created", "Stopped"}, ""},
}

// restarts is Table 3, but for what an engine's or a host's end had stopped.
var restarts = map[string][]string{
	"on-failure": {"crashed", "guest-panic", "launch-failed", "agent-timeout", "killed", "host-lost"},
	"always":     {"crashed", "guest-panic", "launch-failed", "agent-timeout", "killed", "host-lost", "powered-off", "stopped"},
}

func live(state string) bool {
	return state == "Starting" || state == "Running" || state == "Stopping"
}

func (b *books) fault(r record, format string, args ...any) {
	b.wrong = append(b.wrong, fmt.Sprintf("record %d, %s of %s: ", r.Seq, r.Kind, r.Name)+fmt.Sprintf(format, args...))
}

// read takes what the journal shows now: the records that were known must be
// in it as they were, the new ones follow without a gap.
func (b *books) read(shown []record) {
	for _, r := range shown {
		known := uint64(len(b.records))
		switch {
		case r.Seq == 0 || r.Seq > known+1:
			b.fault(r, "it follows record %d", known)
			return
		case r.Seq <= known:
			old := b.records[r.Seq-1]
			if old.Kind != r.Kind || old.Machine != r.Machine || old.To != r.To || old.Principal != r.Principal || old.Launch != r.Launch {
				b.fault(r, "it was %s of %s before", old.Kind, old.Machine)
			}
		default:
			b.records = append(b.records, r)
			b.take(r)
		}
	}
}

func (b *books) take(r record) {
	if r.Machine == "" {
		if r.Kind == "engine-started" {
			for _, m := range b.machines {
				m.unseen = live(m.state)
			}
		}
		return
	}
	m := b.machines[r.Machine]
	if m == nil {
		m = &story{id: r.Machine}
		b.machines[r.Machine] = m
	}
	move, known := moves[r.Kind]
	if !known || !slices.Contains(move.from, m.state) {
		b.fault(r, "Table 1 forbids it in state %q", m.state)
		return
	}
	if move.to != r.To {
		b.fault(r, "it says that it leads to %q, Table 1 to %q", r.To, move.to)
	}
	b.boot(m, r)
	if move.to != "" {
		m.state = move.to
	}
	m.kinds = append(m.kinds, r.Kind)
	b.fold(m, r)
}

// boot: after an engine's start, what it found of a live machine comes first.
func (b *books) boot(m *story, r record) {
	if !m.unseen {
		return
	}
	m.unseen = false
	if !slices.Contains([]string{"adopted", "exited", "repaired", "health-changed"}, r.Kind) {
		b.fault(r, "an engine that booted said this of a live machine before it looked")
	}
}

func (b *books) fold(m *story, r record) {
	plan, _ := r.Fact["plan"].(map[string]any)
	switch r.Kind {
	case "created":
		spec, _ := r.Fact["spec"].(map[string]any)
		m.name, m.desired = r.Name, "stopped"
		m.policy, _ = spec["restart"].(string)
	case "start-requested":
		if owner := b.cids[r.CID]; owner != "" || r.CID < 3 {
			b.fault(r, "it claims CID %d of %q", r.CID, owner)
		}
		b.cids[r.CID] = m.id
		m.launched, m.stopped, m.then, m.plan = false, false, "", false
		if r.Reason != "policy" {
			m.desired = "running"
		}
	case "launched", "adopted":
		m.launched = true
	case "relaunched":
		m.launched = false
	case "ready":
		m.boot = r.text("guest_boot")
	case "stop-requested", "stop-tightened":
		m.stopped, m.then, m.desired = true, r.text("then"), "stopped"
		if m.then == "start" {
			m.desired = "running"
		}
	case "desired-changed":
		m.desired = r.text("desired")
		if m.then == "start" {
			m.then = ""
		}
		m.plan = false
	case "stray-found", "stray-gone":
		m.stray = r.Kind == "stray-found"
	case "exited", "repaired":
		m.cause, m.ends = r.text("cause"), append(m.ends, r)
		m.resting, _ = plan["resting"].(bool)
		m.plan = m.desired == "running" && m.then == "" && !m.resting && slices.Contains(restarts[m.policy], m.cause)
		if said, _ := plan["start"].(bool); said != m.plan {
			b.fault(r, "it plans a start: %v; Table 3 says %v for %s, %s", said, m.plan, m.policy, m.cause)
		}
		maps.DeleteFunc(b.cids, func(_ uint32, owner string) bool { return owner == m.id })
	case "removed":
		m.then, m.plan = "", false
	}
}

// begin forgets what was said of earlier rounds.
func (b *books) begin() {
	for _, m := range b.machines {
		m.ends, m.kinds = nil, nil
	}
}

// named is the machine that has a name now.
func (b *books) named(name string) *story {
	for _, m := range b.machines {
		if m.name == name && m.state != "Removed" {
			return m
		}
	}
	return nil
}

// owes is what a machine at rest must not owe.
func (m *story) owes() string {
	switch {
	case live(m.state) && m.state != "Running":
		return "it is " + m.state
	case m.unseen:
		return "no engine has looked at it"
	case m.state == "Stopped" && (m.then == "start" || m.plan):
		return "it is Stopped, and to be started"
	case m.then == "remove" && m.state != "Removed":
		return "it is to be removed"
	}
	return ""
}
