package actorstest

import (
	"fmt"
	"strings"
	"time"

	"github.com/arcboxlabs/arcbox-engine/actors"
	"github.com/arcboxlabs/arcbox-engine/fsm"
)

// The bounds of a run to rest: longer than ten failed starts of a guest that
// hangs, each with its deadline and its pause.
const (
	restTime  = time.Hour
	restSteps = 20_000
)

// Tick lets time pass, and everything happen that happens meanwhile.
func (e *Engine) Tick(d time.Duration, each Step) {
	for d > 0 {
		e.settle(each)
		d -= e.Clock.Step(d)
	}
	e.settle(each)
}

// Rest lets time pass until no machine is on its way anywhere. It is an error
// if one is for ever.
func (e *Engine) Rest(each Step) error {
	e.settle(each)
	passed := time.Duration(0)
	for range restSteps {
		if e.Died() != nil {
			return nil // it is at rest in its own way
		}
		next, any := e.Clock.Next()
		if busy := e.busy(); busy == "" {
			e.Tick(2*time.Second, each)
			if e.busy() == "" {
				return nil
			}
		} else if !any || passed > restTime {
			return fmt.Errorf("stuck, after %s: %s", passed, busy)
		}
		if any {
			passed += e.Clock.Step(next)
		}
		e.settle(each)
	}
	return fmt.Errorf("stuck, after %d steps: %s", restSteps, e.busy())
}

// busy names the machines that are on their way, and what is owed to them.
func (e *Engine) busy() string {
	var out []string
	for _, m := range e.Machines() {
		if m.Unseen {
			out = append(out, m.Name+" was not looked at")
		}
		if e.World.ownerEnded(m.Spec.Owner) {
			out = append(out, m.Name+" is there, and its owner is not")
		}
		for _, d := range fsm.Owed(m.Machine) {
			switch d.Kind {
			case fsm.DutyWatch, fsm.DutyMonitor, fsm.DutyBooted, fsm.DutyStray, fsm.DutyGrow, fsm.DutyPause: // as long as its VM lives
			case fsm.DutyResume: // as long as its VM host does not answer
				if !e.World.mute(m.ID) {
					out = append(out, m.Name+" does not go on")
				}
			case fsm.DutyProvision:
				if e.World.canSetUp(m.ID) {
					out = append(out, m.Name+" has a set-up without a result")
				}
			default:
				out = append(out, fmt.Sprintf("%s is %s and is owed %s", m.Name, m.State, d.Kind))
			}
		}
	}
	if len(out) == 0 {
		if dirs, _ := e.World.Left(); len(dirs) > 0 {
			for _, d := range e.World.removed(e) {
				out = append(out, d+" is removed, its directory is not")
			}
		}
	}
	return strings.Join(out, "; ")
}

// mute tells whether a machine's VM host does not answer.
func (w *World) mute(id string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.places[id]
	return p != nil && !answers(p.vm)
}

// removed names the removed machines that have a directory.
func (w *World) removed(e *Engine) []string {
	var out []string
	for _, id := range w.dirs() {
		if m, ok := e.journal.Machine(id); ok && m.State == fsm.Removed {
			out = append(out, m.Name)
		}
	}
	return out
}

// Machines is what the engine lists.
func (e *Engine) Machines() []*actors.Seen {
	ms, _ := e.engine.View().List()
	return ms
}
