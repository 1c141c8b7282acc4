package qemu

import (
	"fmt"
	"time"

	"github.com/arcboxlabs/arcbox-engine/hv"
	"github.com/arcboxlabs/arcbox-engine/hv/console"
)

// story is what QEMU has said so far about its guest, and with it why a VM
// ends. It is pure: the VM's run goroutine owns it.
type story struct {
	shutdown string // reason of the first SHUTDOWN
	panicked bool
	paused   bool
	ioError  string // the last failed read or write of a disk
	noSpace  bool   // it failed because the host's disk is full
	fault    string // why we gave QEMU up, if we did
}

// note takes an event of QEMU and returns what the VM says to the world, if
// anything.
func (s *story) note(e qmpEvent) (hv.Event, bool) {
	out := hv.Event{Time: e.time}
	switch e.name {
	case "SHUTDOWN":
		if s.shutdown == "" {
			s.shutdown = e.data.Reason
		}
		if e.data.Reason == "guest-panic" {
			s.panicked = true
		}
		return out, false
	case "GUEST_PANICKED":
		first := !s.panicked
		s.panicked = true
		out.Kind, out.Why = hv.EventPanicked, "the guest's kernel panicked"
		return out, first
	case "RESET":
		out.Kind, out.Why = hv.EventRebooted, e.data.Reason
		return out, true
	case "BLOCK_IO_ERROR":
		s.ioError, s.noSpace = "a disk of the VM failed: "+e.data.Reason, e.data.NoSpace
		if s.noSpace {
			s.ioError = "the host's disk is full"
		}
		return out, false
	case "STOP":
		return s.pause(out)
	case "RESUME":
		// The first RESUME is our own cont: nobody was told of a pause.
		was := s.paused
		s.paused, s.ioError, s.noSpace = false, "", false
		out.Kind = hv.EventResumed
		return out, was
	}
	return out, false
}

// full tells whether the guest waits for room on the host's disk.
func (s *story) full() bool { return s.paused && s.noSpace }

// pause reports a VM that QEMU has stopped. The stop that goes before its end
// is none.
func (s *story) pause(out hv.Event) (hv.Event, bool) {
	if s.panicked || s.shutdown != "" || s.paused {
		return out, false
	}
	s.paused = true
	out.Kind, out.Why = hv.EventPaused, "paused by QEMU"
	if s.ioError != "" {
		out.Why = s.ioError
	}
	return out, true
}

// ending is what else is known once QEMU is reaped.
type ending struct {
	killed bool   // Kill was called
	saved  bool   // by Save: the guest has not run since
	ready  bool   // AllowReboot was called: the guest has more to it than a kernel
	status int    // of the process; -1 = ended by a signal
	state  string // of the process, for people: "exit status 1"
	panic  string // the kernel's panic line on the console
	output string // QEMU's last words
	time   time.Time
}

// exit is the verdict. What QEMU said goes before what was done to it: a guest
// that powered off while it was being killed has powered off.
func (s *story) exit(e ending) hv.Exit {
	x := hv.Exit{Status: e.status, Time: e.time}
	switch {
	case e.saved:
		x.Cause, x.Detail = hv.ExitSaved, "the guest was saved"
	case s.panicked:
		x.Cause, x.Detail = hv.ExitPanic, "the guest's kernel panicked"
		if e.panic != "" {
			x.Detail += ": " + e.panic
		}
	case s.shutdown == "guest-shutdown":
		x.Cause, x.Detail = hv.ExitPoweredOff, "the guest powered off"
	case s.shutdown == "guest-reset" && e.panic != "":
		x.Cause, x.Detail = hv.ExitPanic, "the guest's kernel panicked before its agent was ready: "+e.panic
	case s.shutdown == "guest-reset":
		x.Cause, x.Detail = hv.ExitCrashed, "the guest reset before its agent was ready"
	case s.fault != "":
		x.Cause, x.Detail = hv.ExitCrashed, s.fault
	case e.killed && e.panic != "" && !e.ready: // told not to reset, or not able to
		x.Cause, x.Detail = hv.ExitPanic, "the guest's kernel panicked and hung until it was killed: "+e.panic
	case e.killed:
		x.Cause, x.Detail = hv.ExitKilled, "killed"
	case s.shutdown == "host-signal":
		x.Cause, x.Detail = hv.ExitCrashed, "QEMU was told to end by a signal from outside"
	default:
		x.Cause, x.Detail = hv.ExitCrashed, crashDetail(s.shutdown, e)
	}
	return x
}

func crashDetail(shutdown string, e ending) string {
	text := "QEMU ended: " + e.state
	if shutdown != "" {
		text += fmt.Sprintf(", reason %q", console.Printable([]byte(shutdown)))
	}
	if e.output != "" {
		text += "; its last words: " + e.output
	}
	return text
}
