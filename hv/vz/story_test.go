package vz

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/arcboxlabs/arcbox-engine/hv"
)

func TestStories(t *testing.T) {
	type kinds = []hv.EventKind
	for name, c := range map[string]struct {
		states []state
		panics bool
		ending ending
		says   kinds
		cause  hv.ExitCause
	}{
		"off":              {states: []state{stateStarting, stateRunning, stateStopping, stateStopped}, cause: hv.ExitPoweredOff},
		"killed":           {states: []state{stateRunning, stateStopping, stateStopped}, ending: ending{killed: true}, cause: hv.ExitKilled},
		"saved":            {states: []state{stateRunning, stateStopped}, ending: ending{saved: true, killed: true}, cause: hv.ExitSaved},
		"an error":         {states: []state{stateRunning, stateError}, cause: hv.ExitCrashed},
		"an error, killed": {states: []state{stateRunning, stateError}, ending: ending{killed: true}, cause: hv.ExitKilled},
		"a pause": {
			states: []state{stateRunning, statePausing, statePaused, statePaused, stateSaving, statePaused, stateResuming, stateRunning, stateStopped},
			says:   kinds{hv.EventPaused, hv.EventResumed}, cause: hv.ExitPoweredOff,
		},
		"a panic":             {states: []state{stateRunning, stateStopped}, panics: true, says: kinds{hv.EventPanicked}, cause: hv.ExitPanic},
		"a panic, hung":       {states: []state{stateStopped}, ending: ending{killed: true, panic: "Kernel panic"}, cause: hv.ExitPanic},
		"a panic of long ago": {states: []state{stateStopped}, ending: ending{panic: "Kernel panic"}, cause: hv.ExitPoweredOff},
	} {
		t.Run(name, func(t *testing.T) {
			s, said := story{}, kinds(nil)
			add := func(e hv.Event, ok bool) {
				if ok {
					said = append(said, e.Kind)
				}
			}
			if c.panics {
				add(s.panic())
				add(s.panic())
			}
			for _, st := range c.states {
				add(s.note(st))
			}
			if !slices.Equal(said, c.says) {
				t.Errorf("it says %v, want %v", said, c.says)
			}
			if x := s.exit(c.ending); x.Cause != c.cause || x.Detail == "" {
				t.Errorf("%+v, want %s", x, c.cause)
			}
		})
	}
}

// Whatever the framework says, nobody hears of a resume without a pause, or of two
// pauses, and there is a verdict.
func TestAnyStory(t *testing.T) {
	all := []state{stateStopped, stateStarting, stateRunning, statePausing, statePaused, stateResuming, stateStopping, stateSaving, stateRestoring, stateError, ""}
	rapid.Check(t, func(t *rapid.T) {
		s, paused := story{}, false
		for _, st := range rapid.SliceOf(rapid.SampledFrom(all)).Draw(t, "states") {
			e, ok := s.note(st)
			if !ok {
				continue
			}
			if (e.Kind == hv.EventPaused) == paused || e.Time.IsZero() {
				t.Fatalf("%s, paused before: %v", e.Kind, paused)
			}
			paused = e.Kind == hv.EventPaused
		}
		if x := s.exit(ending{killed: rapid.Bool().Draw(t, "killed")}); x.Cause == "" || x.Detail == "" {
			t.Fatalf("%+v", x)
		}
	})
}
