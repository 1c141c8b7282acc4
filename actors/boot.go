package actors

import (
	"context"
	"errors"

	"github.com/arcboxlabs/arcbox-engine/fsm"
)

// lookAtBoot asks the lock and the VM host of a machine that the journal knows
// what is really there. Commands wait for the answer.
func (m *machine) lookAtBoot() {
	s, ref, launch := m.shared, m.ref, ""
	if l := m.state().Launch; l != nil {
		launch = l.ID
	}
	m.runOdd("look", func(ctx context.Context, _ func(any)) any {
		select {
		case s.looks <- struct{}{}:
			defer func() { <-s.looks }()
		case <-ctx.Done():
			return looked{err: context.Cause(ctx)}
		}
		limited, cancel := within(ctx, s.Clock, lookTime)
		defer cancel()
		sight, err := s.Hosts.Look(limited, ref, launch)
		return looked{sight, err}
	})
}

// leftovers are machines with a directory that should have none: removed ones,
// and those that no record says were ever started. An engine may have died in
// between, or the journal is an older one, put back.
type leftovers struct {
	removed   []fsm.Machine
	unstarted []string          // ids
	cids      map[string]uint32 // of VMs whose machines nobody knows
}

// leftovers looks before anybody is served: a machine that somebody removes
// meanwhile would be taken for one of them.
func (s *shared) leftovers() (left leftovers) {
	ids, err := s.Dirs.IDs(s.life)
	if err != nil {
		s.Log.Warn("list directories", "err", err)
		return left
	}
	ctx, cancel := within(s.life, s.Clock, lookTime) // for all of them
	defer cancel()
	for _, id := range ids {
		switch m, ok := s.Journal.Machine(id); {
		case !ok: // not ours; it is left alone
			s.lookAtStranger(ctx, &left, id)
		case m.State == fsm.Removed:
			left.removed = append(left.removed, m)
		case !m.Dir:
			left.unstarted = append(left.unstarted, id)
		}
	}
	return left
}

// lookAtStranger keeps the CID of a VM whose machine the journal does not know,
// for as long as this engine lives: the journal may be an older one, put back. An
// engine that died in the middle of a create left no more than a set-up there.
func (s *shared) lookAtStranger(ctx context.Context, left *leftovers, id string) {
	ref := Ref{ID: id, Name: id, RunTag: runTag(id)}
	sight, err := s.Hosts.Look(ctx, ref, "")
	switch {
	case err != nil:
		s.Log.Warn("look at a directory that nobody knows", "machine", id, "err", err)
	case sight.Lock != nil: // nothing runs there
		if s.Provisions != nil {
			err = s.Provisions.Forget(ctx, ref)
		}
		if err = errors.Join(err, sight.Lock.Close()); err != nil {
			s.Log.Warn("forget a create that never was", "machine", id, "err", err)
		}
	default:
		s.Log.Warn("a VM runs in a directory that nobody knows; it is left alone", "machine", id, "cid", sight.CID)
		if left.cids == nil {
			left.cids = map[string]uint32{}
		}
		left.cids[id] = sight.CID
	}
}

// lookFirst looks at a machine that has a directory and no start. Once somebody
// has begun to start or remove it, its lock is asked for anyway; so it is where a
// stray is known of, whose end is waited for.
func (m *machine) lookFirst() {
	if m.unseen || m.state().Dir || m.state().Stray != nil || m.start != nil || m.touched() || !fsm.May(m.state().State, fsm.KindStrayFound) {
		return
	}
	m.unseen = true
	m.publish()
	m.lookAtBoot()
}

// touched tells whether a worker may ask for the machine's lock.
func (m *machine) touched() bool {
	for name := range m.odd {
		if name != ownerWork {
			return true
		}
	}
	return false
}

// remedies carries out the cells of Table 2.
var remedies map[fsm.Remedy]func(*machine, Sight)

func init() {
	remedies = map[fsm.Remedy]func(*machine, Sight){
		fsm.RemedyNone:          (*machine).repairNothing,
		fsm.RemedyExited:        (*machine).repairExited,
		fsm.RemedyRepaired:      (*machine).repairRepaired,
		fsm.RemedyAdopt:         (*machine).repairAdopt,
		fsm.RemedyRepairedStray: func(m *machine, s Sight) { m.repairStray(s, "another launch answers") },
		fsm.RemedyWait:          (*machine).repairWait,
		fsm.RemedyStray:         (*machine).repairStrayFound,
		fsm.RemedyDelete:        (*machine).repairDelete,
		fsm.RemedyKillDelete:    (*machine).repairDelete,
	}
}

// lookedAtBoot appends what Table 2 says, and goes on as live.
func (m *machine) lookedAtBoot(r looked) {
	st := m.state()
	s := r.sight
	if r.err != nil {
		m.Log.Warn("look", "machine", m.ref.Name, "err", r.err)
		s.Found = fsm.HeldMute
	}
	m.unseen = false
	remedy := fsm.Repair(st.State, s.Found)
	if st.Damaged {
		remedy = fsm.RepairDamaged(s.Found)
	}
	remedies[remedy](m, s)
	m.keepDisk()
	m.bootPlan()
	m.publish()
	m.settle(fsm.Record{}) // who awaits a state may see it now
	m.flush()
}

// repairNothing: an idle machine with a free lock; a stray is gone.
func (m *machine) repairNothing(s Sight) {
	if m.state().Stray != nil {
		m.strayGone(gone{lock: s.Lock})
		return
	}
	m.closeLock(s.Lock)
}

func (m *machine) repairExited(s Sight) {
	cause, status, detail, note := m.causeOf(s.Exit)
	m.ended(gone{lock: s.Lock, tail: m.Dirs.Tail(m.ref)}, cause, status, detail, note)
}

func (m *machine) repairRepaired(s Sight) {
	m.observed(m.repairedRecord("no VM: the machine's lock was free, and no exit note of this launch was there", fsm.Boot))
	m.closeLock(s.Lock)
}

// repairedRecord also gives back the CID.
func (m *machine) repairedRecord(found string, w fsm.When) fsm.Record {
	st := m.state()
	cause := fsm.RepairCause(st, m.boot)
	m.send(m.sup, cidFreed{m.ref.ID, st.CID()})
	return fsm.Record{Fact: &fsm.RepairedFact{
		Said: st.State, Found: found, Cause: cause, Tail: m.Dirs.Tail(m.ref),
		Plan: fsm.PlanAfter(st, cause, w, m.Clock.Now(), m.Clock.Moment()),
	}}
}

func (m *machine) repairAdopt(s Sight) {
	m.observed(fsm.Record{Fact: &fsm.AdoptedFact{At: m.Clock.Moment(), Version: s.Version}})
}

// repairWait: somebody holds the lock and does not answer. Its duties are
// begun: the watch keeps trying, and the deadlines of Starting and Stopping
// run and end in a kill. Where the last engine did not live to see the launch,
// the time allowed counts from now, and nothing is launched a second time.
func (m *machine) repairWait(Sight) {
	m.adopt = true
	m.health(fsm.HealthUnknown, "its VM host holds the lock and does not answer")
	if l := m.state().Launch; l.LaunchedSeq == 0 {
		m.launchUnseen("nobody saw the launch, and its VM host does not answer")
	}
}

// repairStray: our launch is gone, and something else runs in its place. It is
// left running: a person decides.
func (m *machine) repairStray(s Sight, found string) {
	rec := m.repairedRecord(found, fsm.Boot)
	rec.Fact.(*fsm.RepairedFact).Plan = fsm.Plan{}
	m.observed(rec, fsm.Record{Launch: s.Launch, CID: s.CID, Fact: strayFact(s)})
	m.keepCID(s.CID)
}

func (m *machine) repairStrayFound(s Sight) {
	if m.state().Stray == nil {
		m.observed(fsm.Record{Launch: s.Launch, CID: s.CID, Fact: strayFact(s)})
	}
	m.keepCID(s.CID)
}

func strayFact(s Sight) *fsm.StrayFoundFact {
	what := "its lock is held by a VM host that does not answer"
	if s.Launch != "" {
		what = "launch " + s.Launch + " answers"
	}
	return &fsm.StrayFoundFact{Launch: s.Launch, CID: s.CID, What: what}
}

// keepCID reserves the CID of a stray for as long as it runs.
func (m *machine) keepCID(cid uint32) {
	if cid != 0 {
		m.send(m.sup, cidKept{m.ref.ID, cid})
	}
}

// strayGone: the stray has ended; the lock is ours.
func (m *machine) strayGone(g gone) {
	if g.lock == nil {
		return
	}
	cid := m.state().CID()
	m.observed(fsm.Record{Fact: &fsm.StrayGoneFact{}})
	m.closeLock(g.lock)
	m.send(m.sup, cidFreed{m.ref.ID, cid})
	c := m.killStray
	m.killStray = nil
	if c == nil {
		return
	}
	switch c.verb {
	case verbRemove:
		m.removeNow(true)
	default:
		m.finish(c, "the VM that should not have run was killed")
	}
}

// repairDelete: the machine is removed; what is left of it goes too.
func (m *machine) repairDelete(s Sight) { m.lock = s.Lock }

// bootPlan starts what the end of the engine or of the host had stopped, where
// the policy is always.
func (m *machine) bootPlan() {
	st := m.state()
	if !fsm.BootPlan(st) || m.start != nil {
		return
	}
	if err := m.mayStart(); err != nil {
		m.health(fsm.HealthDegraded, "it should be started and can't be: "+err.Error())
		return
	}
	m.askCID(&starting{reason: fsm.ReasonPolicy, allowed: fsm.NextAllowed(st)})
}
