package vz

import (
	"time"

	"github.com/arcboxlabs/arcbox-engine/hv"
)

// story is what became of a VM so far, and with it why it ends. It is pure: the
// VM's run goroutine owns it.
type story struct {
	paused   bool // and somebody heard of it
	hushed   bool // nobody is to hear of the next pause
	unheard  bool // it is in that pause
	panicked bool
	last     state
}

// note takes a state, and returns what the VM says to the world, if anything.
// Nobody hears of what is on the way to another state.
func (s *story) note(st state) (hv.Event, bool) {
	s.last = st
	out := hv.Event{Time: time.Now()}
	switch {
	case st == statePaused && s.hushed:
		s.unheard = true
	case st == statePaused && !s.paused:
		s.paused = true
		out.Kind, out.Why = hv.EventPaused, "paused by Virtualization.framework"
		return out, true
	case st == stateRunning:
		out.Kind = hv.EventResumed
		heard := s.paused
		s.paused, s.hushed, s.unheard = false, s.hushed && !s.unheard, false
		return out, heard
	}
	return out, false
}

// panic takes the end of a kernel's panic.
func (s *story) panic() (hv.Event, bool) {
	first := !s.panicked
	s.panicked = true
	return hv.Event{Kind: hv.EventPanicked, Why: "the guest's kernel panicked", Time: time.Now()}, first
}

// ending is what else is known once a VM has ended.
type ending struct {
	killed bool   // Kill was called
	saved  bool   // its guest is in a file
	panic  string // the kernel's panic line on the console
	time   time.Time
}

// exit is the verdict. What the guest did goes before what was done to it, but a
// VM that was told to stop says the same as a guest that powered off.
func (s *story) exit(e ending) hv.Exit {
	x := hv.Exit{Time: e.time}
	switch {
	case e.saved:
		x.Cause, x.Detail = hv.ExitSaved, "the guest was saved"
	case s.panicked || e.killed && e.panic != "":
		x.Cause, x.Detail = hv.ExitPanic, "the guest's kernel panicked"
		if e.panic != "" {
			x.Detail += ": " + e.panic
		}
	case s.last == stateError:
		x.Cause, x.Status, x.Detail = hv.ExitCrashed, -1, "Virtualization.framework reports an error of the VM"
		if e.killed {
			x.Cause, x.Detail = hv.ExitKilled, "killed, and "+x.Detail
		}
	case e.killed:
		x.Cause, x.Status, x.Detail = hv.ExitKilled, -1, "killed"
	default:
		x.Cause, x.Detail = hv.ExitPoweredOff, "the guest powered off"
	}
	return x
}
