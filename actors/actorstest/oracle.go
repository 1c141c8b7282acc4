package actorstest

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/arcboxlabs/arcbox-engine/actors"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/fsm"
	"github.com/arcboxlabs/arcbox-engine/journal"
)

// Judge kills the engine as it stands, starts the next one on what is left,
// lets it come to rest, and holds everything that was promised against it. It
// says which promise was broken. The engine itself goes on as if nothing had
// been.
func (e *Engine) Judge(a Aftermath) (err error) {
	least := max(e.Acked(), e.journal.Last())
	before, err := e.Records()
	if err != nil {
		return err
	}
	next, err := e.Crash(a, nil)
	if err != nil {
		return errors.Join(fmt.Errorf("after the crash: %w", err), next.Close())
	}
	defer func() {
		err = errors.Join(err, next.Close())
		time.Sleep(time.Minute) // of the bubble: timers of libraries hold on to the whole engine
	}()
	c, err := next.foundBy(before, least)
	if err != nil {
		return err
	}
	if err := next.Rest(nil); err != nil {
		return err
	}
	if err := errors.Join(next.repairedRight(c), next.Sound()); err != nil {
		return err
	}
	return next.again()
}

// found is what the next engine has to begin with: the journal's word and what
// the host says, for each machine.
type found struct {
	at       uint64 // its engine-started
	boot     string // the host's, now
	machines map[string]fsm.Machine
	findings map[string]fsm.Finding
	causes   map[string]fsm.Cause // of the exit note
}

// foundBy checks that the journal kept what it must, and notes what the engine
// found. It is called before the engine looks at anything.
func (e *Engine) foundBy(before []fsm.Record, least uint64) (found, error) {
	f := found{boot: e.Clock.Moment().Boot, machines: map[string]fsm.Machine{}, findings: map[string]fsm.Finding{}, causes: map[string]fsm.Cause{}}
	records, err := e.Records()
	if err != nil {
		return f, err
	}
	for _, r := range records {
		if r.Kind == fsm.KindEngineStarted {
			f.at = r.Seq
		}
	}
	if f.at == 0 {
		return f, errors.New("lost: the engine has started, and no record says so")
	}
	kept := records[:f.at-1]
	if uint64(len(kept)) < least {
		return f, fmt.Errorf("lost: %d records are left, %d were promised", len(kept), least)
	}
	for i, r := range before {
		if !reflect.DeepEqual(r, kept[i]) {
			return f, fmt.Errorf("record %d was %+v, it is %+v", r.Seq, r, kept[i])
		}
	}
	for _, r := range kept {
		if r.Machine == "" {
			continue
		}
		m, err := f.machines[r.Machine].Apply(r)
		if err != nil {
			return f, fmt.Errorf("the history is not legal: %w", err)
		}
		f.machines[r.Machine] = m
	}
	e.World.mu.Lock()
	defer e.World.mu.Unlock()
	for id, m := range f.machines {
		f.findings[id], f.causes[id] = e.World.finding(id, m)
	}
	return f, nil
}

// finding is the column of Table 2. w.mu is held.
func (w *World) finding(id string, m fsm.Machine) (fsm.Finding, fsm.Cause) {
	p, launch := w.places[id], ""
	if m.Launch != nil {
		launch = m.Launch.ID
	}
	switch {
	case p == nil:
		return fsm.Free, ""
	case p.vm != nil && p.vm.Mute:
		return fsm.HeldMute, ""
	case p.vm != nil && p.vm.Launch == launch:
		return fsm.HeldByThis, ""
	case p.vm != nil:
		return fsm.HeldByOther, ""
	case p.note != nil && p.noteOf == launch:
		return fsm.FreeWithNote, p.note.Cause
	}
	return fsm.Free, ""
}

// firsts says which record each remedy of Table 2 begins with.
var firsts = map[fsm.Remedy]fsm.Kind{
	fsm.RemedyExited: fsm.KindExited, fsm.RemedyRepaired: fsm.KindRepaired, fsm.RemedyAdopt: fsm.KindAdopted,
	fsm.RemedyRepairedStray: fsm.KindRepaired, fsm.RemedyStray: fsm.KindStrayFound, fsm.RemedyWait: fsm.KindHealthChanged,
}

// repairedRight holds what the engine recorded of each machine first against
// Table 2, and the cause against what really happened.
func (e *Engine) repairedRight(f found) error {
	records, err := e.Records()
	if err != nil {
		return err
	}
	for id, was := range f.machines {
		want, owed := firsts[fsm.Repair(was.State, f.findings[id])]
		if !owed || known(was, want) {
			continue
		}
		i := slices.IndexFunc(records, func(r fsm.Record) bool { return r.Seq > f.at && r.Machine == id })
		if i < 0 || records[i].Kind != want {
			return fmt.Errorf("%s was %s, and %s: the first record should be %s: %+v", was.Name, was.State, f.findings[id], want, records[f.at-1:])
		}
		if err := rightCause(was, f, records[i]); err != nil {
			return err
		}
	}
	return nil
}

// known: the record would say nothing new.
func known(m fsm.Machine, k fsm.Kind) bool {
	return k == fsm.KindStrayFound && m.Stray != nil ||
		k == fsm.KindHealthChanged && m.Health.Level == fsm.HealthUnknown
}

func rightCause(was fsm.Machine, f found, r fsm.Record) error {
	var got, want fsm.Cause
	switch fact := r.Fact.(type) {
	case *fsm.ExitedFact:
		got, want = fact.Cause, f.causes[was.ID]
		if was.Stop != nil && was.State == fsm.Stopping && was.Stop.Mode == fsm.StopGraceful && want == fsm.CausePoweredOff {
			want = fsm.CauseStopped
		}
	case *fsm.RepairedFact:
		got, want = fact.Cause, fsm.CauseKilled
		if was.Launch.LaunchedSeq == 0 {
			want = fsm.CauseLaunchFailed
		}
		if was.Launch.Boot != f.boot {
			want = fsm.CauseHostLost
		}
	}
	if got != want {
		return fmt.Errorf("%s: the cause is %q, the truth is %q (%s, %s)", was.Name, got, want, was.State, f.findings[was.ID])
	}
	return nil
}

// Sound holds an engine at rest against what is promised always.
func (e *Engine) Sound() error {
	records, err := e.Records()
	if err != nil {
		return err
	}
	fold := map[string]fsm.Machine{}
	for _, r := range records {
		if r.Machine == "" {
			continue
		}
		m, err := fold[r.Machine].Apply(r)
		if err != nil {
			return fmt.Errorf("the history is not legal: %w", err)
		}
		fold[r.Machine] = m
	}
	lives, cids, names := e.World.Lives(), map[uint32]string{}, map[string]string{}
	for id, vm := range lives {
		if other, twice := cids[vm.CID]; twice {
			return fmt.Errorf("%s and %s have one CID, %d", id, other, vm.CID)
		}
		cids[vm.CID] = id
	}
	listed := map[string]bool{}
	for _, m := range e.Machines() {
		key := strings.ToLower(m.Name)
		if other, twice := names[key]; twice {
			return fmt.Errorf("%s and %s have one name, %s", m.ID, other, m.Name)
		}
		names[key], listed[m.ID] = m.ID, true
		if err := honest(m, lives); err != nil {
			return err
		}
		if err := e.explained(m); err != nil {
			return err
		}
	}
	for id, m := range fold {
		if listed[id] == (m.State == fsm.Removed) {
			return fmt.Errorf("%s is %s by its records; listed: %v", m.Name, m.State, listed[id])
		}
	}
	for id := range lives {
		if !listed[id] {
			return fmt.Errorf("a VM lives for %s, which is not listed", id)
		}
	}
	if broken := e.World.Broken(); len(broken) > 0 {
		return fmt.Errorf("%s", strings.Join(broken, "; "))
	}
	if err := e.World.unobeyed(e.Machines()); err != nil {
		return err
	}
	for _, id := range e.World.dirs() {
		if fold[id].ID == "" {
			return fmt.Errorf("there is a directory of %s (%s), which was never created", e.World.nameAt(id), id)
		}
	}
	if _, locks := e.World.Left(); len(locks) > 0 {
		return fmt.Errorf("at rest the engine still holds the locks of %v", locks)
	}
	return nil
}

// honest: a machine at rest is what it says, and as it should be.
func honest(m *actors.Seen, lives map[string]VM) error {
	vm, alive := lives[m.ID]
	switch {
	case m.State == fsm.Running && (!alive || !vm.Mute && (vm.Launch != m.Launch.ID || vm.CID != m.Launch.CID)):
		return fmt.Errorf("%s is Running, its VM is %+v", m.Name, vm)
	case m.State != fsm.Running && alive && m.Stray == nil:
		return fmt.Errorf("%s is %s, and VM %+v lives", m.Name, m.State, vm)
	case m.Stray != nil && !alive:
		return fmt.Errorf("%s has a stray that is gone", m.Name)
	case m.State == fsm.Running && m.Desired == fsm.DesiredStopped:
		return fmt.Errorf("%s runs, and somebody stopped it", m.Name)
	case m.State == fsm.Running && vm.Mute && m.Health.Level == fsm.HealthOK:
		return fmt.Errorf("%s: its VM host is mute, its health is %s", m.Name, m.Health.Level)
	case m.State == fsm.Running && !vm.Mute && (vm.Still != m.Paused() || vm.Still != (m.Health.Level == fsm.HealthPaused)):
		return fmt.Errorf("%s: its guest is held still: %v; somebody wants that: %v, its health is %s: %s", m.Name, vm.Still, m.Paused(), m.Health.Level, m.Health.Why)
	}
	if on := m.State == fsm.Running && !m.Launch.GoesOn.IsZero(); !vm.Mute && m.State == fsm.Running && on != (vm.Guest != vm.Launch) {
		return fmt.Errorf("%s: it goes on from a guest that was saved: %v; its VM is %+v", m.Name, on, vm)
	}
	return obeyed(m)
}

// obeyed: a machine that is stopped has the right to be.
func obeyed(m *actors.Seen) error {
	if m.State != fsm.Stopped || m.Desired == fsm.DesiredStopped || m.Stray != nil || m.Exit == nil || m.Exit.Plan.Resting {
		return nil
	}
	failed := slices.Contains(fsm.Failures, m.Exit.Cause)
	byHost := m.Exit.Reason == fsm.ReasonEngineStop || m.Exit.Reason == fsm.ReasonHostShutdown
	gaveWay := m.Exit.Detail == strayTookOver || strings.HasPrefix(m.Exit.Detail, "another launch answers")
	if byHost || gaveWay {
		return nil
	}
	if m.Spec.Restart == fsm.PolicyAlways || m.Spec.Restart == fsm.PolicyOnFailure && failed {
		return fmt.Errorf("%s is at rest, Stopped (%s), although its policy is %s", m.Name, m.Exit.Cause, m.Spec.Restart)
	}
	return nil
}

// shown: what anybody can see is on the disk, and what is no longer to be seen
// is gone from it.
func (e *Engine) shown() error {
	if e.engine == nil {
		return nil // it is starting, and shows nothing
	}
	listed := map[string]bool{}
	for _, m := range e.Machines() {
		listed[m.ID] = true
		kept, known := e.journal.Machine(m.ID)
		if ahead := kept.Seq < m.Seq || kept.Seq == m.Seq && !reflect.DeepEqual(kept, m.Machine); ahead || !known {
			return fmt.Errorf("%s is shown as %s (record %d), on the disk it is %s (record %d)", m.Name, m.State, m.Seq, kept.State, kept.Seq)
		}
	}
	for _, m := range e.journal.Machines() {
		if !listed[m.ID] && m.Seq != m.StateAt { // else it was created just now
			return fmt.Errorf("%s is not shown, on the disk it is %s (record %d)", m.Name, m.State, m.Seq)
		}
	}
	return nil
}

// strayTookOver is what repaired says where another launch was found.
const strayTookOver = "another launch answers"

// explained: why names the state, its cause, and what is wrong.
func (e *Engine) explained(m *actors.Seen) error {
	name := e.Ask("uid:0", &wire.WhyMachine{Name: m.Name})
	e.settle(nil)
	w, ok := e.Answer(name).(*wire.Why)
	if !ok {
		return fmt.Errorf("why %s: %v", m.Name, e.Answer(name))
	}
	needs := []string{string(m.State)}
	if m.State == fsm.Stopped {
		needs = append(needs, string(m.Exit.Cause))
	}
	if m.Health.Level != fsm.HealthOK {
		needs = append(needs, string(m.Health.Level), m.Health.Why)
	}
	for _, need := range needs {
		if !strings.Contains(w.GetSentence(), need) {
			return fmt.Errorf("why %s says %q, and not %q", m.Name, w.GetSentence(), need)
		}
	}
	return nil
}

// again: the engine after the next one changes nothing, and everything can
// still be removed, with nothing left.
func (e *Engine) again() (err error) {
	next, err := e.Crash(Aftermath{}, nil)
	if err != nil {
		return errors.Join(fmt.Errorf("once more: %w", err), next.Close())
	}
	defer func() { err = errors.Join(err, next.Close()) }()
	if err := next.Rest(nil); err != nil {
		return fmt.Errorf("once more: %w", err)
	}
	old, now := e.Machines(), next.Machines()
	for i, m := range old {
		if i >= len(now) || now[i].ID != m.ID || now[i].State != m.State || now[i].Desired != m.Desired || now[i].StateAt != m.StateAt {
			return fmt.Errorf("once more: %s was %s, the history is now\n%s", m.Name, m.State, next.history())
		}
	}
	return next.Clear()
}

// Clear removes every machine by force: that must always work, and leave
// nothing.
func (e *Engine) Clear() error {
	e.Full.Store(true) // also on a full disk
	for _, m := range e.Machines() {
		if m.Spec.Protected {
			off := false
			e.Ask("uid:0", &wire.SetMachine{Name: m.Name, Protect: &off})
			e.settle(nil)
		}
		name := e.Ask("uid:0", &wire.RemoveMachine{Name: m.Name, Force: true})
		e.settle(nil)
		if e.Answer(name) != nil {
			continue
		}
		if err := e.Rest(nil); err != nil {
			return fmt.Errorf("rm -f %s: %w", m.Name, err)
		}
		if _, ok := e.Answer(name).(*wire.Done); !ok {
			return fmt.Errorf("rm -f %s: %v", m.Name, e.Answer(name))
		}
	}
	if err := e.Rest(nil); err != nil {
		return fmt.Errorf("after rm -f: %w", err)
	}
	dirs, locks := e.World.Left()
	if left := e.Machines(); len(left)+len(dirs)+len(locks)+len(e.World.Lives()) > 0 {
		return fmt.Errorf("after rm -f of all there are machines %v, directories %v, locks %v, VMs %v", left, dirs, locks, e.World.Lives())
	}
	return nil
}

// Records is the whole durable history.
func (e *Engine) Records() ([]fsm.Record, error) {
	entries, err := e.journal.Query(journal.Query{})
	if err != nil {
		return nil, err
	}
	var out []fsm.Record
	for _, en := range entries {
		if en.Unreadable != nil {
			return nil, fmt.Errorf("record %d: %w", en.Seq, en.Unreadable)
		}
		out = append(out, en.Record)
	}
	return out, nil
}
