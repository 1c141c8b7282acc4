package actors

import (
	"strings"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/fsm"
)

// advice is what to try next, by what is wrong: the most likely first.
func (t *story) advice() []*wire.Advice {
	a := &advisor{name: t.m.Name}
	switch m := t.m; {
	case m.Damaged:
		a.add("arcbox journal verify", "which of its records can't be read")
	case m.Stray != nil:
		a.add("arcbox stop %s", "end the VM that should not run; then it can be started again")
		a.add("arcbox rm -f %s", "end that VM, and remove the machine")
	case m.Unwatched:
		a.add("arcbox engine start", "what lives is adopted, and what ended meanwhile is found")
	case m.Paused() && m.State == fsm.Running:
		a.add("arcbox resume %s", "have its guest go on")
	case hostPaused(m.health()):
		a.add("df -h "+t.s.Home, "where the host's disk is full; the machine goes on by itself when there is room")
		a.add("arcbox resume %s", "have its guest go on where it does not, as with a block device")
	default:
		t.adviseOn(a)
	}
	return a.out
}

// advisor collects commands for one machine.
type advisor struct {
	name string
	out  []*wire.Advice
}

// add takes a command, with %s for the machine's name.
func (a *advisor) add(command, why string) {
	a.out = append(a.out, &wire.Advice{Command: strings.ReplaceAll(command, "%s", a.name), Why: why})
}

func (t *story) adviseOn(a *advisor) {
	m := t.m
	if advise := counsel[m.State]; advise != nil {
		advise(t, a)
	}
	if !t.m.State.Live() && t.disk() != "" && len(a.out) > 0 {
		a.out = nil // nothing else helps before
		a.add("df -h "+t.s.Home, "how full it is; arcbox rm and arcbox image prune make room")
		if !t.planned() {
			a.add("arcbox start %s", "when there is room")
			return
		}
		a.add("arcbox wait %s running", "wait for the restart policy's start, when there is room")
		a.add("arcbox stop %s", "have it not started again")
	}
}

var counsel = map[fsm.State]func(*story, *advisor){
	fsm.Created: func(_ *story, a *advisor) { a.add("arcbox start %s", "start it") },
	fsm.Starting: func(_ *story, a *advisor) {
		a.add("arcbox logs %s -f", "what the guest says while it boots")
		a.add("arcbox stop --kill %s", "give it up")
	},
	fsm.Running: func(t *story, a *advisor) {
		if p := t.m.Spec.Provision; p != nil && (t.m.OwesProvision() || !t.m.Provisioned.Result.OK()) {
			a.add("arcbox logs %s --provision", "what its set-up said")
			if p.Kind == fsm.ProvisionScript && !t.m.OwesProvision() {
				a.add("arcbox provision %s --again", "have it set up again")
			}
			if t.m.health() == t.m.WellHealth() {
				return
			}
		}
		if t.m.health().Level != fsm.HealthOK {
			a.add("arcbox logs %s --tail 50", "what the guest said last")
			a.add("arcbox restart %s", "stop it and start it again")
		}
	},
	fsm.Removed:  func(t *story, a *advisor) { a.add("arcbox journal --machine "+t.m.ID, "all that happened to it") },
	fsm.Stopping: func(_ *story, a *advisor) { a.add("arcbox stop --kill %s", "do not wait for the guest") },
	fsm.Stopped: func(t *story, a *advisor) {
		if t.m.Exit == nil {
			return
		}
		if c := causes[t.m.Exit.Cause]; c != nil {
			c(t, a)
		}
		t.adviseAfter(a)
	},
}

// causes says what to look at after an end.
var causes = map[fsm.Cause]func(*story, *advisor){
	fsm.CauseKilled: func(t *story, a *advisor) {
		if t.stop() == nil {
			a.add("journalctl -k --grep 'Out of memory|Killed process'", "whether the kernel killed it for want of memory")
		}
	},
	fsm.CausePoweredOff: func(_ *story, a *advisor) { a.add("arcbox logs %s --tail 50", "who powered it off") },
	fsm.CauseCrashed:    func(_ *story, a *advisor) { a.add("arcbox logs %s --tail 50", "what the guest said last") },
	fsm.CauseGuestPanic: func(_ *story, a *advisor) {
		a.add("arcbox logs %s --tail 50", "what led to the panic")
		a.add("arcbox inspect %s", "its kernel, command line and memory")
	},
	fsm.CauseLaunchFailed: func(_ *story, a *advisor) { a.add("arcbox inspect %s", "what it is to run with") },
	fsm.CauseAgentTimeout: func(_ *story, a *advisor) {
		a.add("arcbox logs %s --tail 50", "how far it got")
		a.add("arcbox start %s --timeout 5m", "give it more time")
	},
}

// adviseAfter says how to go on after an end.
func (t *story) adviseAfter(a *advisor) {
	switch m := t.m; {
	case t.planned():
		a.add("arcbox wait %s running", "wait for the restart policy's start")
		a.add("arcbox stop %s", "have it not started again")
	case m.Stop != nil && m.Stop.Then != fsm.ThenNothing:
		a.add("arcbox stop %s", "have it not go on")
	case m.Saved != nil:
		a.add("arcbox start %s", "have its guest go on")
		a.add("arcbox start --fresh %s", "boot, and throw its saved guest away")
	case m.Exit.Cause != fsm.CauseAgentTimeout:
		a.add("arcbox start %s", "start it again")
	}
}
