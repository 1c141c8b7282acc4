package actors

import (
	"errors"
	"fmt"
	"strings"

	"github.com/arcboxlabs/arcbox-engine/fsm"
)

// workDone takes a worker's result. Where its duty is owed no longer, all that
// counts of it is the lock that it may bring.
func (m *machine) workDone(d workDone) {
	w := d.w
	w.cancel()
	switch {
	case m.odd[w.name] == w && w.duty.Kind == "":
		delete(m.odd, w.name)
		m.oddDone(w, d.result)
	case m.work[w.duty] == w:
		w.over = true
		if w.called && w.duty.Kind != fsm.DutyLaunch {
			delete(m.work, w.duty)
			m.discard(d.result)
		} else {
			m.dutyDone(w, d.result)
		}
	default:
		m.discard(d.result) // of an actor that panicked, under the same name
	}
	if !m.done {
		m.reconcile()
	}
}

func (m *machine) discard(result any) {
	switch r := result.(type) {
	case gone:
		m.free = newFreed()
		m.closeLock(r.lock)
	case prepared:
		m.closeLock(r.lock)
	case launched:
		m.closeLock(r.lock)
	case looked:
		m.closeLock(r.sight.Lock)
	case exported:
		r.e.over <- r.err
	case copied:
		m.dropStage(r.stage)
	}
}

func (m *machine) dutyDone(w *work, result any) {
	switch r := result.(type) {
	case launched:
		delete(m.work, w.duty)
		m.launchDone(r)
	case gone:
		m.vmGone(w, r)
	case usurped:
		m.usurped(r.sight)
	case diskGrown:
		m.growDone(w, r)
	case unpaused:
		m.notHeldStill(r)
	case unsaved:
		m.notSaved(r)
	case lingers:
		m.kill()
	case resumed:
		m.resumeDone(r)
	case ready:
		m.shares = r.shares.errs
		m.judgeDisk(&r.fact)
		if err := m.append(fsm.Record{Fact: &r.fact}); err != nil {
			m.Log.Warn("ready", "machine", m.ref.Name, "err", err)
		}
		m.sharesKnown(r.shares)
	case provisioned:
		m.observed(fsm.Record{Fact: &r.fact})
	case booted:
		if err := m.append(fsm.Record{Fact: &r.fact}); err != nil {
			m.Log.Warn("booted", "machine", m.ref.Name, "err", err)
		}
	case late:
		m.late(r)
	case stopLate:
		m.stopLate()
	case prepared:
		m.removable(r)
	case deleted:
		m.deleted(w, r)
	case nil:
		switch w.duty.Kind {
		case fsm.DutyStart:
			m.owedStart(w)
		case fsm.DutyBooted:
			m.settle(fsm.Record{}) // none will come
		}
	}
}

func (m *machine) launchDone(r launched) {
	st := m.state()
	switch {
	case r.err == nil:
		m.observed(fsm.Record{Fact: &r.fact})
	case r.lock != nil && errors.Is(r.err, ErrCIDTaken) && fsm.May(st.State, fsm.KindRelaunched) && m.moves < maxMoves:
		m.lock, m.moving = r.lock, r.err.Error()
		m.moves++
		m.send(m.sup, cidWanted{m.ref.ID})
	case r.lock == nil:
		// Whoever holds the lock can't be killed. Go on as with a VM host that
		// does not answer: stop and rm work, the deadline runs.
		m.launchUnseen("the launch failed and left something behind: " + r.err.Error())
	default:
		cause := fsm.CauseLaunchFailed
		if st.Stop != nil {
			cause = fsm.CauseStopped
		}
		m.ended(gone{lock: r.lock, tail: m.Dirs.Tail(m.ref)}, cause, 0, r.err.Error(), false)
	}
}

// launchUnseen notes that something may run that never answered.
func (m *machine) launchUnseen(note string) {
	m.observed(fsm.Record{Fact: &fsm.LaunchedFact{At: m.Clock.Moment(), Note: note}})
}

// vmGone is the end of a VM, live or at boot; the lock is ours.
func (m *machine) vmGone(w *work, g gone) {
	m.stopOdd("kill")
	m.free = newFreed() // of the next one
	if w.duty.Kind == fsm.DutyStray {
		m.strayGone(g)
		return
	}
	if g.lock == nil {
		return
	}
	if m.relaunch != "" && m.verdict == "" && fsm.May(m.state().State, fsm.KindRelaunched) {
		m.replaceLaunch(g)
		return
	}
	cause, status, detail, note := m.causeOf(g.exit)
	m.ended(g, cause, status, detail, note)
}

// replaceLaunch starts over: the guest hung before its agent.
func (m *machine) replaceLaunch(g gone) {
	l := m.state().Launch
	m.lock = g.lock
	why := m.relaunch
	m.relaunch = ""
	m.observed(fsm.Record{
		Launch: m.NewID(), CID: l.CID,
		Fact: &fsm.RelaunchedFact{Why: why, OldLaunch: l.ID, OldCID: l.CID},
	})
}

// maxMoves bounds how often one start goes on with another CID. Strangers have few.
const maxMoves = 8

// moveTo starts over with another CID: a stranger has the one before. Commands have
// waited for it.
func (m *machine) moveTo(cid uint32) {
	l := m.state().Launch
	why := m.moving
	m.moving = ""
	m.observed(fsm.Record{
		Launch: m.NewID(), CID: cid,
		Fact: &fsm.RelaunchedFact{Why: why, OldLaunch: l.ID, OldCID: l.CID, Taken: true},
	})
	m.send(m.sup, cidFreed{m.ref.ID, l.CID})
	m.reconcile()
	m.flush()
}

// causeOf is what the records say of an end: what we did ourselves goes before
// what the VM host saw, and that before a guess.
func (m *machine) causeOf(e *VMExit) (c fsm.Cause, status int, detail string, note bool) {
	stop := m.state().Stop
	if e == nil {
		e = &VMExit{Cause: fsm.CauseKilled, Detail: "its VM host ended without leaving a note, as after kill -9"}
	}
	c, status, detail, note = e.Cause, e.Status, e.Detail, e.Note
	switch {
	case m.verdict != "" && c == fsm.CauseGuestPanic: // why nobody answered
		detail += "; " + m.relaunch
	case m.verdict != "":
		c, detail = m.verdict, m.relaunch
	case stop != nil && stop.Mode == fsm.StopGraceful && c == fsm.CausePoweredOff:
		c = fsm.CauseStopped
	}
	return c, status, detail, note
}

// ended appends exited, the lock held, and lets go of lock and CID.
func (m *machine) ended(g gone, c fsm.Cause, status int, detail string, note bool) {
	st := m.state()
	cid := st.CID()
	if quiet(c) && note {
		g.tail = ""
	}
	plan := fsm.PlanAfter(st, c, m.when(), m.Clock.Now(), m.Clock.Moment())
	m.observed(append(m.untoldReboots(),
		fsm.Record{Fact: &fsm.ExitedFact{Cause: c, Status: status, Detail: detail, Note: note, Tail: g.tail, Plan: plan}})...)
	m.verdict, m.relaunch, m.adopt, m.moves = "", "", false, 0
	m.closeLock(g.lock)
	m.send(m.sup, cidFreed{m.ref.ID, cid})
}

// when is boot for the end of a machine that was asked to stop together with an
// engine before this one: what that stopped, this one may start.
func (m *machine) when() fsm.When {
	if s := m.state().Stop; s != nil && s.Seq < m.since {
		return fsm.Boot
	}
	return fsm.Live
}

// late: the agent did not answer. Halfway through, the launch is replaced,
// once; a guest that hangs in its first seconds often does not the next time.
func (m *machine) late(r late) {
	allowed := m.state().Launch.Allowed
	switch {
	case r.half:
		m.relaunch = fmt.Sprintf("the guest's agent did not answer in half of the %s allowed: %v", allowed, r.err)
	case r.early:
		m.verdict = fsm.CauseAgentTimeout
		m.relaunch = fmt.Sprintf("the guest's agent can't be talked to: %v", r.err)
	default:
		m.verdict = fsm.CauseAgentTimeout
		m.relaunch = fmt.Sprintf("the guest's agent did not answer within %s: %v", allowed, r.err)
	}
	m.kill()
}

func (m *machine) stopLate() {
	stop := m.state().Stop
	if !stop.NoKill {
		m.kill()
		return
	}
	err := m.append(fsm.Record{Fact: &fsm.StopAbandonedFact{Why: "the guest did not stop in the time allowed, and must not be killed"}})
	if err != nil {
		m.Log.Warn("abandon stop", "machine", m.ref.Name, "err", err)
	}
}

// removable: the lock is ours. Whether there is a directory is not known: an
// engine may have died between making it and start-requested.
func (m *machine) removable(r prepared) {
	if r.lock == nil {
		m.remover = nil
		m.refuseWaiters(verbRemove, r.err)
		return
	}
	if err := m.append(m.removedRecord()); err != nil {
		m.closeLock(r.lock)
		panic(err)
	}
	m.lock = r.lock
}

// removedRecord says who asked for the removal, unless the record of a stop
// said so before.
func (m *machine) removedRecord() fsm.Record {
	rec := fsm.Record{Reason: fsm.ReasonRemove, Fact: &fsm.RemovedFact{}}
	switch c := m.remover; {
	case m.removing():
		rec.Principal = m.state().Stop.Principal
	case c != nil:
		rec.Principal, rec.Request = c.principal, c.request
	}
	return rec
}

func (m *machine) deleted(w *work, r deleted) {
	if r.err != nil {
		m.Log.Error("delete directory", "machine", m.ref.Name, "err", r.err)
	}
	m.done = true
	delete(m.work, w.duty)
	m.send(m.sup, cleaned{m.ref.ID})
}

// usurped: our launch is gone, and another answers in its place.
func (m *machine) usurped(s Sight) {
	m.repairStray(s, "another launch answers where launch "+m.state().Launch.ID+" should")
}

// workSaid takes what a worker says before it is done.
func (m *machine) workSaid(d workSaid) {
	if s, ok := d.said.(copying); ok && m.odd[d.w.name] == d.w {
		m.copying(s)
		return
	}
	if m.work[d.w.duty] != d.w || d.w.called {
		return
	}
	switch s := d.said.(type) {
	case vmSaid:
		m.vmSaid(s)
	case mute:
		m.health(fsm.HealthUnknown, s.why)
	case checked:
		m.checked(s.err)
	case held:
		m.stillHeld(s)
	case shutdown:
		if s.err != nil {
			m.Log.Warn("shutdown", "machine", m.ref.Name, "err", s.err)
		}
	}
	m.reconcile()
}

// pausedWhy begins the health of a VM that its hypervisor has paused.
const pausedWhy = "its hypervisor paused it: "

func (m *machine) vmSaid(s vmSaid) {
	switch s.event {
	case VMAnswered:
		if m.adopt {
			m.adopt = false
			m.observed(fsm.Record{Fact: &fsm.AdoptedFact{At: m.Clock.Moment()}})
		}
		if m.latest().Level == fsm.HealthUnknown {
			m.well()
		}
		m.networkIsKnown()
		m.askShares()
	case VMShare:
		m.askShares()
	case VMRebooted:
		m.rebooted()
		m.checkSooner()
	case VMPaused:
		m.health(fsm.HealthDegraded, pausedWhy+s.why)
	case VMResumed:
		m.well()
	case VMPanicked:
		m.health(fsm.HealthDegraded, "its kernel panicked")
	}
}

// checkSooner begins the monitor anew, so that it does not sleep through the
// agent's return.
func (m *machine) checkSooner() {
	for d, w := range m.work {
		if d.Kind == fsm.DutyMonitor {
			w.stop()
			delete(m.work, d)
		}
	}
}

const rebooting = "the guest rebooted and its agent has not answered yet"

// checked: what the checks of the guest say.
func (m *machine) checked(err error) {
	h, well := m.latest(), m.state().WellHealth()
	switch {
	case err == nil && h != well:
		m.well()
		if !strings.HasPrefix(h.Why, shareLost) { // that is known
			m.askShares()
		}
	case err != nil && (h.Level == fsm.HealthOK || h == well || h.Why == m.trouble()): // nothing worse was told
		m.health(fsm.HealthDegraded, noAnswer+err.Error())
	}
}

// noAnswer begins the health of a guest whose agent was asked in vain.
const noAnswer = "its agent does not answer: "

// well records that the VM and its agent answer. A shutdown that was begun and
// not finished can't be taken back by that.
func (m *machine) well() {
	h := m.wellNow()
	m.health(h.Level, h.Why)
}

// wellNow is the health of a machine whose agent answers, with what else is wrong.
func (m *machine) wellNow() fsm.Health {
	h := m.state().WellHealth()
	if why := m.trouble(); h.Level == fsm.HealthOK && why != "" {
		h = fsm.Health{Level: fsm.HealthDegraded, Why: why}
	}
	return h
}
