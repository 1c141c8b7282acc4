package actorstest

import (
	"testing"
	"time"

	"github.com/arcboxlabs/arcbox-engine/fsm"
)

// A guest can't fill the journal. Bound: of what it does, a burst of 32 records
// and from then on two in 30 s are written, plus those of its start and end.
// What is written is still all of it: the reboots' number, and the last health.
func TestAGuestCantFillTheJournal(t *testing.T) {
	for name, step := range map[string]struct {
		lines   []string
		again   int
		reboots int
	}{
		"reboots":          {[]string{"happen a reboot", "tick 300ms"}, 2000, 2000},
		"a flapping agent": {[]string{"happen a hang", "tick 25s", "happen a unhang", "tick 25s"}, 100, 0},
		"pauses":           {[]string{"happen a pause", "tick 50ms", "happen a resume", "tick 50ms"}, 1000, 0},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s, err := NewScenario(nil)
				if err != nil {
					t.Fatal(err)
				}
				defer func() {
					if err := s.Close(); err != nil {
						t.Error(err)
					}
				}()
				playLines(t, s, "create a", "start a")
				before, began := s.journal.Last(), s.Clock.Now()
				for range step.again {
					playLines(t, s, step.lines...)
				}
				during := s.Clock.Now().Sub(began)
				playLines(t, s, "tick 2m")
				written := s.journal.Last() - before
				bound := uint64(paceBound(s.Clock.Now().Sub(began)))
				t.Logf("%d times in %s: %d records, at most %d", step.again, during, written, bound)
				if written > bound {
					t.Errorf("%d records were written, at most %d are allowed", written, bound)
				}
				m := s.only(t)
				if m.State != fsm.Running || m.Health.Level != fsm.HealthOK || m.Launch.Reboots != step.reboots {
					t.Errorf("in the end: %s, health %+v, %d reboots", m.State, m.Health, m.Launch.Reboots)
				}
				playLines(t, s, "happen a reboot", "happen a reboot", "happen a poweroff", "tick 1s")
				if m := s.only(t); m.State != fsm.Stopped {
					t.Errorf("after its end: %s", m.State)
				}
				if err := s.Rest(nil); err != nil {
					t.Error(err)
				}
				if err := s.Sound(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// paceBound is how many records a guest may cause in a time.
func paceBound(d time.Duration) int { return 32 + 2*(int(d/(30*time.Second))+1) }

func playLines(t *testing.T, s *Scenario, lines ...string) {
	t.Helper()
	for _, l := range lines {
		if out, err := s.Play(l); err != nil {
			t.Fatalf("%s: %v %s", l, err, out)
		}
	}
}

// only is the one machine.
func (s *Scenario) only(t *testing.T) fsm.Machine {
	t.Helper()
	all := s.journal.Machines()
	if len(all) != 1 {
		t.Fatalf("machines: %v", all)
	}
	return all[0]
}
