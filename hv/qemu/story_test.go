package qemu

import (
	"io"
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

func TestTailKeepsTheEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var all []byte
		kept := &tail{}
		for range rapid.IntRange(0, 6).Draw(t, "n") {
			p := rapid.SliceOfN(rapid.Byte(), 0, 3*maxTail).Draw(t, "p")
			all = append(all, p...)
			if n, err := kept.Write(p); n != len(p) || err != nil {
				t.Fatal(n, err)
			}
		}
		if want := string(all[max(0, len(all)-maxTail):]); string(kept.buf) != want {
			t.Fatalf("kept %d bytes, want the last %d", len(kept.buf), len(want))
		}
		if len(kept.lastLines()) > maxText {
			t.Fatal("too long for a sentence")
		}
	})
}

// However the console's bytes are cut into writes, a panic is found in them.
func TestWatchFindsAPanic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		noise := rapid.SliceOfN(rapid.Byte(), 0, 2000)
		console := append(noise.Draw(t, "before"), "\n[  1.5] Kernel panic - not syncing: VFS\r\n[ 1.6] CPU\n[ 1.7] ---[ end Kernel panic - not syncing: VFS ]---\r\n"...)
		w := &watch{next: io.Discard}
		for len(console) > 0 {
			n := rapid.IntRange(1, len(console)).Draw(t, "n")
			_, _ = w.Write(console[:n])
			console = console[n:]
		}
		if got := w.panicLine(); got != "Kernel panic - not syncing: VFS" {
			t.Fatalf("panic line %q", got)
		}
		if len(w.line) > maxText {
			t.Fatalf("%d bytes held", len(w.line))
		}
	})
}
