package actors

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/fsm"
)

// starting is a start between its admission and its record: a CID is being
// reserved, the directory made, the lock taken. It is bounded in time, and
// commands wait for it.
type starting struct {
	c       *command // nil where the state owes it
	reason  fsm.Reason
	attempt int
	allowed time.Duration
	fresh   bool // it boots, whatever is saved
	cid     uint32
}

// startAsked begins a start that somebody asked for.
func (m *machine) startAsked(c *command) error {
	if err := m.mayStart(); err != nil {
		return err
	}
	s := &starting{c: c, reason: c.reason, allowed: DefaultStart}
	switch msg := c.msg.(type) {
	case *wire.StartMachine:
		s.allowed, s.fresh = timeout(msg.GetTimeoutNanos(), DefaultStart), msg.GetFresh()
	case *wire.RestartMachine:
		s.allowed, s.reason = timeout(msg.GetStartTimeoutNanos(), DefaultStart), fsm.ReasonRestart
	}
	m.askCID(s)
	return nil
}

// mayStart refuses what would be unsafe, or would fail for sure.
func (m *machine) mayStart() error {
	if err := m.alone(); err != nil {
		return err
	}
	st := m.state()
	switch {
	case m.cloning != nil:
		return refuse(wire.Code_CODE_CONFLICT, "arcbox inspect "+m.ref.Name, "machine %q is %s: it can be started when that has ended", m.ref.Name, m.busy())
	case m.exporting != nil:
		return refuse(wire.Code_CODE_CONFLICT, "arcbox inspect "+m.ref.Name, "machine %q is being exported by %s: it can be started when that has ended", m.ref.Name, m.exporting.who)
	case st.Spec.Backend == "sim" && !m.AllowSim:
		return refuse(wire.Code_CODE_UNSAFE, allowSimHint, "machine %q is a sim, and this engine was started without --allow-sim", m.ref.Name)
	}
	if err := m.blocksFree(); err != nil {
		return err
	}
	return m.roomOnDisk()
}

// whole refuses what can't be done to a machine of which not all is known, or that
// is going.
func (m *machine) whole() error {
	switch {
	case m.state().Damaged:
		return refuse(wire.Code_CODE_UNSAFE, "arcbox journal verify", "machine %q: a record of it can't be read", m.ref.Name)
	case m.removing():
		return refuse(wire.Code_CODE_CONFLICT, "arcbox list", "machine %q is being removed", m.ref.Name)
	}
	return nil
}

// alone refuses what needs that no VM of the machine's runs unasked, too.
func (m *machine) alone() error {
	if err := m.whole(); err != nil {
		return err
	}
	if s := m.state().Stray; s != nil {
		return refuse(wire.Code_CODE_UNSAFE, "arcbox stop "+m.ref.Name, "machine %q: a VM runs that should not (%s)", m.ref.Name, s.What)
	}
	return nil
}

// owedStart begins a start that the state owes: a restart, or the policy's.
func (m *machine) owedStart(w *work) {
	if m.spoken() {
		delete(m.work, w.duty) // where that fails, it is owed still
		return
	}
	st := m.state()
	if err := m.mayStart(); err != nil {
		m.startRefused(w, err)
		return
	}
	s := &starting{reason: fsm.ReasonPolicy, allowed: fsm.NextAllowed(st)}
	if st.Stop != nil && st.Stop.Then == fsm.ThenStart {
		s.reason, s.allowed = fsm.ReasonRestart, m.restartAllowed()
	} else if st.Exit != nil {
		s.attempt = st.Exit.Plan.Attempt
	}
	m.askCID(s)
}

// restartAllowed is what who waits for a restart allows its start. Where nobody does any
// more, it is what the policy would.
func (m *machine) restartAllowed() time.Duration {
	for _, w := range m.waiters {
		if msg, ok := w.c.msg.(*wire.RestartMachine); ok {
			return timeout(msg.GetStartTimeoutNanos(), DefaultStart)
		}
	}
	return fsm.NextAllowed(m.state())
}

// startRefused tries a start that is owed again, later, and says why. Who asked
// for a restart need not wait for that.
func (m *machine) startRefused(w *work, err error) {
	m.refuseWaiters(verbRestart, notAgain(m.ref.Name, err))
	m.health(fsm.HealthDegraded, "it should be started and can't be: "+err.Error())
	delete(m.work, w.duty)
	s := m.shared
	m.run(w.duty, func(ctx context.Context, _ func(any)) any {
		sleep(ctx, s.Clock, startAgain)
		return nil
	})
}

// notAgain says what a restart came to.
func notAgain(name string, err error) error {
	r, ok := errors.AsType[*Refusal](err)
	if !ok {
		return fmt.Errorf("machine %q was stopped, and can't be started again: %w", name, err)
	}
	out := *r
	out.Message = fmt.Sprintf("machine %q was stopped, and can't be started again: %s; it is tried again until you stop it", name, r.Message)
	return &out
}

func (m *machine) askCID(s *starting) {
	m.start = s
	m.send(m.sup, cidWanted{m.ref.ID})
}

func (m *machine) cidReserved(cid uint32) {
	if m.moving != "" {
		m.moveTo(cid)
		return
	}
	if m.start == nil {
		m.send(m.sup, cidFreed{m.ref.ID, cid})
		return
	}
	m.start.cid = cid
	s, ref, st := m.shared, m.ref, m.state()
	spec := st.StartSpec() // a disk is not to grow under a guest that does not look
	if m.start.fresh {
		spec = st.Spec
	}
	m.runOdd("prepare", func(ctx context.Context, _ func(any)) any {
		limited, cancel := within(ctx, s.Clock, prepareTime)
		defer cancel()
		lock, made, err := s.Hosts.Prepare(limited, ref, spec, st.Disks)
		return prepared{lock, made, err}
	})
}

// oddDone takes the result of a worker that no duty owes.
func (m *machine) oddDone(w *work, result any) {
	switch r := result.(type) {
	case prepared:
		if w.name == "remove" {
			m.removable(r)
		} else {
			m.prepared(r)
		}
	case looked:
		m.lookedAtBoot(r)
	case kept:
		m.kept(r)
	case forgotten:
		m.forgotten(r)
	case untold:
		m.tell()
	case orphaned:
		m.orphaned(r)
	case egressLate:
		m.answerSets()
	case linkLate:
		m.linkIsLate()
	case sharesKnown:
		m.sharesKnown(r)
	case exported:
		m.exported(w, r)
	case copied:
		m.copied(w, r)
	}
}

// prepared: the lock is ours, so that start-requested may be appended.
func (m *machine) prepared(r prepared) {
	s := m.start
	m.start = nil
	defer m.flush()
	err := r.err
	if err == nil {
		m.lock = r.lock
		err = m.append(m.startRecords(s, r.made)...)
	}
	if err == nil {
		if s.c != nil {
			m.waiters = append(m.waiters, &waiter{c: s.c, since: m.state().Seq})
		}
		// The launch takes the lock from here. A stop that waited comes behind
		// it, and cancels it: else nobody would ever let go of the lock.
		m.reconcile()
		return
	}
	m.dropLock()
	m.send(m.sup, cidFreed{m.ref.ID, s.cid})
	if s.c != nil {
		st := m.state()
		m.answer(s.c, refused(err, &st))
		return
	}
	for d, w := range m.work {
		if d.Kind == fsm.DutyStart {
			m.startRefused(w, err)
		}
	}
}

// startRecords are durable together: a disk that was made is known as such before
// anything is launched with it, and one that was made for a start that never was
// recorded is empty still.
func (m *machine) startRecords(s *starting, made []fsm.DiskFormattedFact) []fsm.Record {
	r := fsm.Record{
		CID: s.cid, Launch: m.NewID(), Reason: s.reason,
		Fact: &fsm.StartRequestedFact{Boot: m.boot, Allowed: s.allowed, Attempt: s.attempt, Saved: !s.fresh && m.state().Saved != nil},
	}
	if s.c != nil {
		r.Principal, r.Request = s.c.principal, s.c.request
	}
	recs := []fsm.Record{r}
	for _, disk := range made {
		recs = append(recs, fsm.Record{Launch: r.Launch, Fact: &disk})
	}
	return recs
}

// flush admits the commands that waited.
func (m *machine) flush() {
	held := m.held
	m.held = nil
	for _, c := range held {
		m.command(c)
	}
}
