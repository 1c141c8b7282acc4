package actors

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/fsm"
	"github.com/arcboxlabs/arcbox-engine/journal"
)

// waiter is somebody who asked for something and will hear how it ended.
type waiter struct {
	c        *command
	since    uint64 // the machine's last record when it was asked for
	repeated bool   // the request had been carried out before
	stop     func() bool
}

// outcomes says which record answers whom, and what: the engine's fifth table.
var outcomes = map[verb]map[fsm.Kind]func(*machine, *waiter) proto.Message{
	verbStart: {
		fsm.KindReady: started, fsm.KindExited: failed, fsm.KindRepaired: failed, fsm.KindStopRequested: overtaken,
		fsm.KindRemoved: vanished,
	},
	verbStop: {
		fsm.KindExited: stopped, fsm.KindRepaired: stopped, fsm.KindStopAbandoned: abandoned, fsm.KindStrayGone: done,
		fsm.KindRemoved: vanished,
	},
	verbRestart: {
		fsm.KindReady: started, fsm.KindExited: failedUnlessOwed, fsm.KindRepaired: failedUnlessOwed,
		fsm.KindStopAbandoned: abandoned, fsm.KindStopTightened: overtakenUnlessOwed, fsm.KindDesiredChanged: overtaken,
		fsm.KindRemoved: vanished,
	},
	verbPause: {
		fsm.KindHealthChanged: heldStill, fsm.KindResumeRequested: notHeld, fsm.KindStopRequested: overtaken,
		fsm.KindExited: failed, fsm.KindRepaired: failed, fsm.KindRemoved: vanished,
	},
	verbResume: {
		fsm.KindHealthChanged: goesOn, fsm.KindPauseRequested: goesOn, fsm.KindStopRequested: overtaken,
		fsm.KindExited: failed, fsm.KindRepaired: failed, fsm.KindRemoved: vanished,
	},
	verbSuspend: {
		fsm.KindExited: suspended, fsm.KindRepaired: failed, fsm.KindStopAbandoned: notSuspended, fsm.KindStopTightened: overtaken,
		fsm.KindRemoved: vanished,
	},
	verbRemove: {fsm.KindRemoved: done},
	verbSet: { // only one that has a disk grow waits
		fsm.KindSpecChanged: setDone, fsm.KindStopRequested: setBefore, fsm.KindExited: setBefore, fsm.KindRepaired: setBefore,
		fsm.KindRemoved: vanished,
	},
}

// standings says what a repeated request is answered at once; nil = it waits.
var standings = map[verb]map[fsm.State]func(*machine, *waiter) proto.Message{
	verbCreate:  {fsm.Created: done, fsm.Starting: done, fsm.Running: done, fsm.Stopping: done, fsm.Stopped: done},
	verbStart:   {fsm.Running: done, fsm.Stopping: overtaken, fsm.Stopped: failed},
	verbStop:    {fsm.Created: done, fsm.Stopped: stopped, fsm.Starting: done, fsm.Running: doneOrAbandoned},
	verbRestart: {fsm.Running: doneOrAbandoned, fsm.Stopped: failedUnlessOwed, fsm.Created: done},
	verbSet: {
		fsm.Created: setBefore, fsm.Starting: setBefore, fsm.Running: setBefore, fsm.Stopping: setBefore, fsm.Stopped: setBefore,
	},
	verbPause:   {fsm.Running: heldStill, fsm.Stopping: overtaken, fsm.Stopped: failed},
	verbResume:  {fsm.Running: goesOn, fsm.Stopping: overtaken, fsm.Stopped: failed},
	verbSuspend: {fsm.Starting: done, fsm.Running: notSuspended, fsm.Stopped: suspended},
	verbClone:   {fsm.Created: done, fsm.Starting: done, fsm.Running: done, fsm.Stopping: done, fsm.Stopped: done},
	verbRename:  {fsm.Created: done, fsm.Starting: done, fsm.Running: done, fsm.Stopping: done, fsm.Stopped: done},
	verbAgain:   {fsm.Created: done, fsm.Starting: done, fsm.Running: done, fsm.Stopping: done, fsm.Stopped: done},
}

// finals are the records that settle a request for good, whatever came later.
var finals = map[verb][]fsm.Kind{
	verbStart:   {fsm.KindReady, fsm.KindExited, fsm.KindRepaired, fsm.KindStopRequested},
	verbStop:    {fsm.KindExited, fsm.KindRepaired, fsm.KindStopAbandoned, fsm.KindStrayGone},
	verbRestart: {fsm.KindReady, fsm.KindStopAbandoned},
	verbSuspend: {fsm.KindExited, fsm.KindRepaired, fsm.KindStopAbandoned, fsm.KindStopTightened},
}

// then is the answer that a repeated request got the first time, nil where it
// has not been settled.
func (m *machine) then(w *waiter) (proto.Message, error) {
	kinds := finals[w.c.verb]
	if kinds == nil {
		return nil, nil
	}
	es, err := m.Journal.Query(journal.Query{Machine: m.ref.ID, After: w.since, Kinds: kinds, Limit: 1})
	if err != nil {
		return nil, fmt.Errorf("what became of request %s: %w", w.c.request, err)
	}
	if len(es) == 0 {
		return nil, nil
	}
	return outcomes[w.c.verb][es[0].Kind](m, w), nil
}

// now is the answer that the state gives already, nil where there is none yet.
func (w *waiter) now(m *machine) proto.Message {
	if f := standings[w.c.verb][m.state().State]; f != nil {
		return f(m, w)
	}
	return nil
}

// settle answers those whom a record answers.
func (m *machine) settle(r fsm.Record) {
	left := m.waiters[:0:0]
	for _, w := range m.waiters {
		var out proto.Message
		if w.c.verb == verbAwait {
			out = m.reached(w)
		} else if f := outcomes[w.c.verb][r.Kind]; f != nil {
			out = f(m, w)
		}
		if out == nil {
			left = append(left, w)
			continue
		}
		m.dismiss(w, out)
	}
	m.waiters = left
}

func (m *machine) dismiss(w *waiter, out proto.Message) {
	if w.stop != nil {
		w.stop()
	}
	m.answer(w.c, out)
}

// refuseWaiters tells all who wait for a verb that it was not to be.
func (m *machine) refuseWaiters(v verb, err error) {
	left := m.waiters[:0:0]
	st := m.state()
	for _, w := range m.waiters {
		if w.c.verb == v && err != nil {
			m.dismiss(w, refused(err, &st))
		} else {
			left = append(left, w)
		}
	}
	m.waiters = left
}

func (m *machine) clientGone(address string) {
	if cl := m.cloning; cl != nil && cl.c.from != nil && cl.c.from.Address == address {
		m.stopOdd(cloneWork)
	}
	left := m.waiters[:0:0]
	for _, w := range m.waiters {
		if w.c.from != nil && w.c.from.Address == address {
			if w.stop != nil {
				w.stop()
			}
		} else {
			left = append(left, w)
		}
	}
	m.waiters = left
}

func done(m *machine, w *waiter) proto.Message {
	out := m.doneMessage("")
	out.Repeated = w.repeated
	return out
}

func failed(m *machine, w *waiter) proto.Message {
	st := m.state()
	if st.Exit == nil {
		return done(m, w)
	}
	return refused(m.failure(), &st)
}

// failure says why the last launch came to nothing.
func (m *machine) failure() *Refusal {
	e := m.state().Exit
	msg := "machine \"" + m.ref.Name + "\" is Stopped: " + string(e.Cause)
	if e.Detail != "" {
		msg += ": " + e.Detail
	}
	switch {
	case e.Tail != "":
		msg += "\nThe console's last lines:\n" + e.Tail
	case !quiet(e.Cause) && e.Cause != fsm.CauseLaunchFailed:
		msg += "\nIts console shows nothing."
	}
	return &Refusal{Code: wire.Code_CODE_FAILED, Message: msg, Hint: "arcbox journal why " + m.ref.Name}
}

func overtaken(m *machine, _ *waiter) proto.Message {
	st := m.state()
	return refused(refuse(wire.Code_CODE_CONFLICT, "arcbox journal why "+m.ref.Name, "machine %q: a stop overtook it", m.ref.Name), &st)
}

// vanished: the machine was removed meanwhile.
func vanished(m *machine, _ *waiter) proto.Message {
	return refused(notFound(m.ref.Name), nil)
}

// owesStart tells whether a restart is still on its way.
func (m *machine) owesStart() bool {
	s := m.state().Stop
	return s != nil && s.Then == fsm.ThenStart
}

func overtakenUnlessOwed(m *machine, w *waiter) proto.Message {
	if m.owesStart() {
		return nil
	}
	return overtaken(m, w)
}

func failedUnlessOwed(m *machine, w *waiter) proto.Message {
	if m.owesStart() {
		return nil
	}
	return failed(m, w)
}

func stopped(m *machine, w *waiter) proto.Message {
	out := m.doneMessage("")
	out.Repeated = w.repeated
	out.Killed = m.state().Exit.Cause == fsm.CauseKilled
	if s, ok := w.c.msg.(*wire.StopMachine); ok && out.Killed && !s.GetKill() {
		out.Note = "it did not stop in the time allowed and had to be killed"
	}
	return out
}

func abandoned(m *machine, _ *waiter) proto.Message {
	st := m.state()
	return refused(refuse(wire.Code_CODE_TIMEOUT, "arcbox stop --kill "+m.ref.Name,
		"machine %q did not stop in the time allowed and is Running again", m.ref.Name), &st)
}

// doneOrAbandoned: it runs, because it was started since, or never stopped.
func doneOrAbandoned(m *machine, w *waiter) proto.Message {
	if l := m.state().Launch; l != nil && l.Seq >= w.since { // or the request itself was its start
		return done(m, w)
	}
	return abandoned(m, w)
}

// These may be refused: a set-up can fail, and an agent may never tell.
const (
	untilProvisioned = "provisioned"
	untilBooted      = "booted"
)

// awaits says what "wait NAME X" waits for.
var awaits = map[string]func(fsm.Machine) bool{
	"running": func(m fsm.Machine) bool { return m.State == fsm.Running },
	"stopped": func(m fsm.Machine) bool { return !m.State.Live() },
	// A machine without an image has nothing that boots behind its agent.
	untilBooted: func(m fsm.Machine) bool {
		return m.State == fsm.Running && (m.Spec.Image == "" || m.Launch.Booted)
	},
	// A set-up that failed, or a shutdown that was given up, is no fault of the agent.
	"agent": func(m fsm.Machine) bool {
		return m.State == fsm.Running && (m.Health.Level == fsm.HealthOK || m.Health == m.WellHealth())
	},
	untilProvisioned: func(m fsm.Machine) bool { return !m.OwesProvision() },
	"ip":             func(m fsm.Machine) bool { return m.State == fsm.Running && m.Launch != nil && m.Launch.Address != "" },
}

func (m *machine) awaitState(c *command) error {
	msg := c.msg.(*wire.AwaitMachine)
	if awaits[msg.GetUntil()] == nil {
		return &Refusal{Code: wire.Code_CODE_BAD_INPUT, Field: "until", Hint: "arcbox wait --help",
			Message: "wait for \"" + clip(msg.GetUntil(), 40) + "\": running, booted, provisioned, stopped, agent or ip"}
	}
	w := &waiter{c: c, since: m.state().Seq}
	if out := m.reached(w); out != nil {
		m.answer(c, out)
		return nil
	}
	self := m.self
	w.stop = m.Clock.AfterFunc(timeout(msg.GetTimeoutNanos(), MaxTimeout), func() { m.send(self, giveUp{w}) })
	m.waiters = append(m.waiters, w)
	return nil
}

func (m *machine) reached(w *waiter) proto.Message {
	st := m.state()
	if st.State == fsm.Removed {
		return refused(refuse(wire.Code_CODE_NOT_FOUND, "arcbox list", "machine %q was removed", m.ref.Name), &st)
	}
	if !m.unseen && w.c.msg.(*wire.AwaitMachine).GetUntil() == untilProvisioned {
		return m.setUpDone(w)
	}
	if !m.unseen && w.c.msg.(*wire.AwaitMachine).GetUntil() == untilBooted && m.neverBoots() {
		return refused(refuse(wire.Code_CODE_CONFLICT, "arcbox restart "+m.ref.Name,
			"machine %q runs, and its agent is older than what is asked: it never tells that its init is ready; a restart gives it the newest", m.ref.Name), &st)
	}
	if !m.unseen && awaits[w.c.msg.(*wire.AwaitMachine).GetUntil()](st) {
		return m.doneMessage("")
	}
	return nil
}

// neverBoots tells whether nobody waits any more for the init of a machine that
// runs, and that was never said to be ready.
func (m *machine) neverBoots() bool {
	for _, d := range fsm.Owed(m.state()) {
		if w := m.work[d]; d.Kind == fsm.DutyBooted && w != nil {
			return w.over && !w.called
		}
	}
	return false
}

func (m *machine) giveUp(w *waiter) {
	for i, o := range m.waiters {
		if o == w {
			m.waiters = append(m.waiters[:i:i], m.waiters[i+1:]...)
			st := m.state()
			m.answer(w.c, refused(refuse(wire.Code_CODE_TIMEOUT, "arcbox journal why "+m.ref.Name,
				"machine %q is %s, not %s, and the time is over", m.ref.Name, st.State, w.c.msg.(*wire.AwaitMachine).GetUntil()), &st))
			return
		}
	}
}
