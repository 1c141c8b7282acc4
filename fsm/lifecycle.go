package fsm

import (
	"context"
	"errors"
	"fmt"
	"slices"

	looplab "github.com/looplab/fsm"
)

// events is Table 1 in looplab's form. The library silently lets the last of
// two rows for one pair win, so a test holds the table free of such pairs.
var events = func() looplab.Events {
	var es looplab.Events
	for _, t := range Transitions {
		if t.To == Stay {
			continue
		}
		var src []string
		for _, s := range t.From {
			src = append(src, string(s))
		}
		es = append(es, looplab.EventDesc{Name: string(t.Kind), Src: src, Dst: string(t.To)})
	}
	return es
}()

// Lifecycle is one machine whose every move goes through its own looplab FSM.
// It is not safe for use by several goroutines: one actor owns it.
type Lifecycle struct {
	fsm     *looplab.FSM
	machine Machine
}

// NewLifecycle resumes from a folded machine; the zero Machine is one before
// its first record.
func NewLifecycle(m Machine) *Lifecycle {
	return &Lifecycle{fsm: looplab.NewFSM(string(m.State), events, nil), machine: m}
}

// Machine is the fold of all records applied so far.
func (l *Lifecycle) Machine() Machine { return l.machine }

// Apply folds a record in, and moves the state where the record does. On an
// error nothing has changed.
func (l *Lifecycle) Apply(r Record) error {
	next, err := l.machine.Apply(r)
	if err != nil {
		return err
	}
	if Moves(r.Kind) {
		if err := l.move(r.Kind, next.State); err != nil {
			return fmt.Errorf("machine %s, record %d: %w", r.Machine, r.Seq, err)
		}
	}
	l.machine = next
	return nil
}

func (l *Lifecycle) move(k Kind, to State) error {
	if l.machine.Damaged {
		l.fsm.SetState(string(to)) // the table does not know what happened in the gap
		return nil
	}
	// NB: never a context that can be cancelled: looplab v1.0.3 stays "in
	// transition" for good after one.
	err := l.fsm.Event(context.Background(), string(k))
	if _, same := errors.AsType[looplab.NoTransitionError](err); same {
		return nil // relaunched: Starting to Starting
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrIllegal, err)
	}
	return nil
}

// Allowed lists the kinds that Table 1 allows now, sorted.
func (l *Lifecycle) Allowed() []Kind {
	var ks []Kind
	for _, e := range l.fsm.AvailableTransitions() {
		ks = append(ks, Kind(e))
	}
	slices.Sort(ks)
	return ks
}

// Mermaid is the state diagram of Table 1, as Mermaid text.
func Mermaid() (string, error) {
	return looplab.VisualizeForMermaidWithGraphType(looplab.NewFSM(string(Created), diagram(), nil), looplab.StateDiagram)
}

// diagram is events without the first one, whose source has no name.
func diagram() looplab.Events {
	return slices.DeleteFunc(slices.Clone(events), func(e looplab.EventDesc) bool { return e.Name == string(KindCreated) })
}
