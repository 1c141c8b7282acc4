package qemu

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/arcboxlabs/arcbox-engine/hv"
)

func event(name, reason string) qmpEvent {
	return qmpEvent{name: name, data: eventData{Reason: reason}}
}

func TestWhatWasSaidGoesBeforeWhatWasDone(t *testing.T) {
	for name, c := range map[string]struct {
		events []qmpEvent
		ending ending
		cause  hv.ExitCause
	}{
		"powered off, then killed":          {[]qmpEvent{event("SHUTDOWN", "guest-shutdown")}, ending{killed: true}, hv.ExitPoweredOff},
		"panicked, then killed":             {[]qmpEvent{event("GUEST_PANICKED", "")}, ending{killed: true}, hv.ExitPanic},
		"a panic line, then killed":         {nil, ending{killed: true, panic: "x"}, hv.ExitPanic},
		"a line on a ready guest's console": {nil, ending{killed: true, ready: true, panic: "x"}, hv.ExitKilled},
		"killed":                            {nil, ending{killed: true}, hv.ExitKilled},
		"rebooted, then killed":             {[]qmpEvent{event("RESET", "guest-reset")}, ending{killed: true}, hv.ExitKilled},
		"died by itself":                    {nil, ending{status: -1, state: "signal: aborted"}, hv.ExitCrashed},
		"a panic line, then powered off":    {[]qmpEvent{event("SHUTDOWN", "guest-shutdown")}, ending{panic: "x"}, hv.ExitPoweredOff},
		"a panic line, then died by itself": {nil, ending{panic: "x"}, hv.ExitCrashed},
		"a reset, then a signal":            {[]qmpEvent{event("SHUTDOWN", "guest-reset"), event("SHUTDOWN", "host-signal")}, ending{}, hv.ExitCrashed},
	} {
		s := story{}
		for _, e := range c.events {
			s.note(e)
		}
		if x := s.exit(c.ending); x.Cause != c.cause || x.Detail == "" {
			t.Errorf("%s: %+v, want %s", name, x, c.cause)
		}
	}
}

// Pauses and resumes alternate, a panic is told once, and after it nothing is
// a pause.
func TestStoryOfAnyEvents(t *testing.T) {
	names := []string{"STOP", "RESUME", "RESET", "SHUTDOWN", "GUEST_PANICKED", "BLOCK_IO_ERROR", "NIC_RX_FILTER_CHANGED"}
	reasons := []string{"", "guest-shutdown", "guest-reset", "guest-panic", "\x1b[2J"}
	rapid.Check(t, func(t *rapid.T) {
		s := story{}
		paused, panics := false, 0
		for range rapid.IntRange(0, 30).Draw(t, "n") {
			out, ok := s.note(event(rapid.SampledFrom(names).Draw(t, "name"), rapid.SampledFrom(reasons).Draw(t, "reason")))
			if !ok {
				continue
			}
			switch out.Kind {
			case hv.EventPaused:
				if paused || panics > 0 {
					t.Fatal("paused twice, or after a panic")
				}
				paused = true
			case hv.EventResumed:
				if !paused {
					t.Fatal("resumed without a pause")
				}
				paused = false
			case hv.EventPanicked:
				panics++
			}
		}
		if panics > 1 {
			t.Fatal("more than one panic")
		}
		x := s.exit(ending{output: "x"})
		if x.Detail == "" || strings.ContainsRune(x.Detail, 0x1b) {
			t.Fatalf("detail %q", x.Detail)
		}
	})
}
