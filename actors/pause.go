package actors

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/fsm"
)

// ErrNoPause is the answer of a VM whose guest can't be held still, by its backend or
// by the age of its VM host.
var ErrNoPause = errors.New("its VM can't be paused")

const (
	holdTime  = 10 * time.Second // for a VM host to hold its guest still, or let it go on
	holdAgain = time.Second      // behind one that did not
)

// What workers bring that hold guests still, and let them go on.
type (
	held     struct{ err error }
	unpaused struct{ err error }
	// resumed: the guest goes on; check says whether its agent answers.
	resumed struct{ check error }
)

// pauseAsked has the guest held still. Who asked hears when it is.
func (m *machine) pauseAsked(c *command) error {
	st := m.state()
	switch {
	case st.Paused() && st.Launch.Pause.Held:
		m.finish(c, "it was paused already")
		return nil
	case st.Paused():
		return m.await(c)
	}
	if err := m.append(fsm.Record{Principal: c.principal, Request: c.request, Reason: c.reason, Fact: &fsm.PauseRequestedFact{}}); err != nil {
		return err
	}
	m.answerSets() // what of them is owed waits until the guest goes on
	return m.await(c)
}

// resumeAsked has the guest go on, also one that its hypervisor has paused. Who asked
// hears when it does, and its agent was asked.
func (m *machine) resumeAsked(c *command) error {
	switch st := m.state(); {
	case st.Launch.Pause != nil && !st.Paused():
		return m.await(c)
	case st.Launch.Pause == nil && m.latest() == st.WellHealth():
		m.finish(c, "it was not paused")
		return nil
	}
	if err := m.append(fsm.Record{Principal: c.principal, Request: c.request, Reason: c.reason, Fact: &fsm.ResumeRequestedFact{}}); err != nil {
		return err
	}
	return m.await(c)
}

// hold tells the VM host, and awaits its answer also where nobody wants it any more:
// what is told to it next must not overtake this.
func (s *shared) hold(ref Ref, still bool) error {
	limited, cancel := within(s.life, s.Clock, holdTime)
	defer cancel()
	err := s.Hold(limited, ref, still)
	if err != nil && limited.Err() != nil && s.life.Err() == nil {
		return fmt.Errorf("it was not done within %s", holdTime)
	}
	return err
}

// turning tells whether a VM host is being told the opposite of a duty.
func (m *machine) turning(to fsm.Duty) bool {
	for d, w := range m.work {
		if d != to && !w.over && (d.Kind == fsm.DutyPause || d.Kind == fsm.DutyResume) {
			return to.Kind == fsm.DutyPause || to.Kind == fsm.DutyResume
		}
	}
	return false
}

// beginPause holds the guest still, and sees to it from time to time that it is so: no
// agent can be asked meanwhile. A guest that is held still already stays so, whichever
// engine began it.
func (m *machine) beginPause(d fsm.Duty) {
	s, ref, was := m.shared, m.ref, m.state().Launch.Pause.Held
	m.run(d, func(ctx context.Context, say func(any)) any {
		for ; ; was = true {
			err := s.hold(ref, true)
			if err != nil && !was {
				return unpaused{err}
			}
			say(held{err})
			pause := checkEvery
			if err != nil {
				pause = checkAgain
			}
			if !sleep(ctx, s.Clock, pause) {
				return nil
			}
		}
	})
}

// beginResume lets the guest go on, as often as it takes.
func (m *machine) beginResume(d fsm.Duty) {
	s, ref, stopping := m.shared, m.ref, !fsm.May(m.state().State, fsm.KindStopRequested)
	m.run(d, func(ctx context.Context, say func(any)) any {
		for ctx.Err() == nil {
			err := s.hold(ref, false)
			if said := err == nil || errors.Is(err, ErrNoPause); said && stopping {
				return resumed{} // it has other things to do than to answer
			} else if said {
				limited, cancel := within(ctx, s.Clock, checkTime)
				defer cancel()
				return resumed{s.Guests.Check(limited, ref)}
			}
			say(held{err})
			sleep(ctx, s.Clock, holdAgain)
		}
		return nil
	})
}

// stillHeld records that the guest is held still, or that nobody can tell, where that is
// news.
func (m *machine) stillHeld(r held) {
	p := m.state().Launch.Pause
	h := fsm.Health{Level: fsm.HealthPaused, Why: "by " + somebody(p.Principal)}
	switch {
	case r.err != nil:
		m.health(fsm.HealthUnknown, "its VM host does not answer: "+r.err.Error())
	case !p.Held || m.latest() != h:
		m.said(h)
	}
}

// notHeldStill takes back a pause that was not to be had.
func (m *machine) notHeldStill(r unpaused) {
	m.observed(fsm.Record{Fact: &fsm.ResumeRequestedFact{Why: r.err.Error()}})
}

// resumeDone records that the guest goes on, and how it does.
func (m *machine) resumeDone(r resumed) {
	h := m.wellNow()
	if r.check != nil {
		h = fsm.Health{Level: fsm.HealthDegraded, Why: noAnswer + r.check.Error()}
	}
	m.said(h)
	m.askShares() // one may have been lost meanwhile
}

// said records the health that ends a pause, or a pause's end: somebody waits for the
// record, so that it comes at once, and also where the health is what it was.
func (m *machine) said(h fsm.Health) {
	m.pace.health = nil
	m.observed(fsm.Record{Fact: &fsm.HealthChangedFact{Health: h}})
}

// asleep refuses what only a guest could answer that goes on.
func (m *machine) asleep(what string) error {
	if !m.state().Paused() {
		return nil
	}
	return refuse(wire.Code_CODE_CONFLICT, "arcbox resume "+m.ref.Name, "machine %q is paused: %s", m.ref.Name, what)
}

// heldStill answers a pause as soon as the guest is.
func heldStill(m *machine, w *waiter) proto.Message {
	st := m.state()
	switch {
	case st.Paused() && st.Launch.Pause.Held:
		return done(m, w)
	case st.Paused():
		return nil
	}
	return notHeld(m, w)
}

// notHeld answers a pause behind which the guest is to go on.
func notHeld(m *machine, w *waiter) proto.Message {
	st := m.state()
	switch why := st.Launch.Unpaused; {
	case why != "":
		return refused(refuse(wire.Code_CODE_FAILED, "arcbox journal why "+m.ref.Name, "machine %q can't be paused, and runs on: %s", m.ref.Name, why), &st)
	case w.repeated:
		return done(m, w) // it was, and somebody had it go on since
	}
	return refused(refuse(wire.Code_CODE_CONFLICT, "arcbox journal why "+m.ref.Name, "machine %q: a resume overtook it", m.ref.Name), &st)
}

// goesOn answers a resume as soon as the guest does.
func goesOn(m *machine, w *waiter) proto.Message {
	st := m.state()
	switch {
	case st.Launch.Pause == nil && st.Health.Level == fsm.HealthDegraded:
		out := done(m, w).(*wire.Done)
		out.Note = "its health is degraded: " + st.Health.Why
		return out
	case st.Launch.Pause == nil:
		return done(m, w)
	case st.Paused() && w.repeated:
		return done(m, w) // it did, and somebody paused it since
	case st.Paused():
		return refused(refuse(wire.Code_CODE_CONFLICT, "arcbox journal why "+m.ref.Name, "machine %q: a pause overtook it", m.ref.Name), &st)
	}
	return nil
}
