package actorstest

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/datadriven"
)

// TestScenarios plays the stories in testdata, and at its end each host must
// be as it was promised.
func TestScenarios(t *testing.T) {
	datadriven.Walk(t, "testdata/stories", func(t *testing.T, path string) {
		bubble(t, func(t *testing.T) { play(t, path, nil) })
	})
}

// TestWhyTellsTheCause plays a long story, in which machines end in every way;
// it is no story for a crash at each step, of which there would be too many.
func TestWhyTellsTheCause(t *testing.T) {
	bubble(t, func(t *testing.T) { play(t, "testdata/whys/causes.txt", nil) })
}

// TestBootIsNeverTold is of an agent that is too old to tell.
func TestBootIsNeverTold(t *testing.T) {
	bubble(t, func(t *testing.T) { play(t, "testdata/whys/untold.txt", nil) })
}

// TestPause is of guests that are held still, with all that may come between.
func TestPause(t *testing.T) {
	bubble(t, func(t *testing.T) { play(t, "testdata/whys/pause.txt", nil) })
}

// TestSuspend is of guests that are saved, with all that may come between.
func TestSuspend(t *testing.T) {
	bubble(t, func(t *testing.T) { play(t, "testdata/whys/suspend.txt", nil) })
}

// bubble runs f in a bubble, and lets what protoactor leaves behind end: a
// goroutine of each system waits for five seconds of the bubble's own time.
func bubble(t *testing.T, f func(*testing.T)) {
	synctest.Test(t, func(t *testing.T) {
		defer time.Sleep(time.Minute)
		f(t)
	})
}

// play plays one story; at is called before each thing that happens.
func play(t *testing.T, path string, at func(*Engine, *Gate)) {
	s, err := NewScenario(at)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { // a bubble waits for all that was started in it
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
		out, err := s.Play(lineOf(d))
		if err != nil {
			t.Fatalf("%s: %v", d.Pos, err)
		}
		return out
	})
	if err := s.Rest(nil); err != nil {
		t.Error(err)
	}
	if err := s.Sound(); err != nil {
		t.Error(err)
	}
}

// lineOf is a directive as it was typed.
func lineOf(d *datadriven.TestData) string {
	out := []string{d.Cmd}
	for _, a := range d.CmdArgs {
		out = append(out, a.String())
	}
	return strings.Join(out, " ")
}
