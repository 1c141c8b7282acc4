package actors

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/fsm"
)

// cloneWork names the worker that copies a machine's disk.
const cloneWork = "clone"

// cloning is a machine that is to be as another one. The other's lock is held while
// its disk is copied, so that nothing writes to it; the new one has no name before it
// has its disk, and nothing of it is left where that is given up.
type cloning struct {
	c         *command
	name      string // of the new one
	of        fsm.Origin
	spec      fsm.Spec
	note      string // what it has not
	done, all int64  // bytes of the disk
}

// copying is how far the copy of a disk is, and copied what came of it.
type (
	copying struct{ done, all int64 }
	copied  struct {
		stage string
		err   error
	}
)

// clone hands a clone to the machine that is to be copied, unless its name is taken
// already.
func (s *supervisor) clone(ctx actor.Context, msg *wire.CloneMachine) {
	name := msg.GetNewName()
	if s.goesDown() {
		s.reply(ctx, refused(goingDown(), nil))
		return
	}
	if s.early(ctx, msg, name, fsm.KindCreated) {
		return
	}
	mem, holder := s.find(msg.GetName()), s.reg.named(name)
	switch {
	case mem == nil:
		s.reply(ctx, refused(s.missing(msg.GetName()), nil))
	case holder != nil && s.durably(holder, name):
		s.reply(ctx, refused(taken(name, holder.name), nil))
	default:
		ctx.Forward(mem.pid)
	}
}

// cloneReady spawns the actor of a clone that has its disk. Meanwhile another may
// have got the name, or the same request, sent twice, may have been carried out.
func (s *supervisor) cloneReady(ctx actor.Context, r cloneReady) {
	holder, again := s.reg.named(r.name), false
	if r.c.request != "" {
		_, again = s.Journal.Request(r.c.principal, r.c.request)
	}
	switch {
	case s.goesDown():
		s.send(r.c.from, refused(goingDown(), nil))
	case again:
		ctx.Send(ctx.Self(), r.c.envelope()) // answered as any repeat
	case holder != nil && s.durably(holder, r.name):
		s.send(r.c.from, refused(taken(r.name, holder.name), nil))
	case holder != nil:
		ctx.Send(holder.pid, r.c.envelope()) // this very clone, asked for twice, or a name that may yet be nobody's
	default:
		mem := &member{id: s.NewID(), name: r.name}
		s.reg.join(mem)
		s.spawn(ctx, mem, fsm.Machine{ID: mem.id, Name: mem.name, RunTag: runTag(mem.id)})
		ctx.Send(mem.pid, r)
		return
	}
	s.dropStage(r.stage)
}

// dropStage removes a disk that is to be nobody's, behind the scenes.
func (s *shared) dropStage(stage string) {
	if stage != "" {
		go s.Disks.Drop(stage)
	}
}

// clone copies the machine for another. A request that is sent again, because its
// connection broke, has the copy under way go on, or begins it anew.
func (m *machine) clone(c *command) error {
	if cl := m.cloning; cl != nil && c.request != "" && cl.c.request == c.request && cl.c.principal == c.principal {
		cl.c = c
		return nil
	}
	if err := m.mayClone(); err != nil {
		return err
	}
	st := m.state()
	cl := &cloning{c: c, name: c.msg.(*wire.CloneMachine).GetNewName(), of: fsm.Origin{ID: st.ID, Name: st.Name}}
	cl.spec, cl.note = clonedSpec(st)
	if !slices.Contains(st.Disks, fsm.DataDisk) {
		m.send(m.sup, cloneReady{cl, ""})
		return nil
	}
	if m.CopyDisk == nil || m.Disks == nil || m.Provisions == nil {
		return refuse(wire.Code_CODE_LACKING, versionsHint, "this engine copies no disks")
	}
	m.cloning = cl
	s, ref := m.shared, m.ref
	m.runOdd(cloneWork, func(ctx context.Context, say func(any)) any {
		stage, err := s.copyDisk(ctx, ref, say)
		return copied{stage, err}
	})
	m.publish()
	return nil
}

// mayClone refuses what can't be copied in peace, or would not be what it seems.
func (m *machine) mayClone() error {
	if err := m.alone(); err != nil {
		return err
	}
	if err := m.halfMachine("cloned"); err != nil {
		return err
	}
	st := m.state()
	switch {
	case len(fsm.Owed(st)) > 0:
		return refuse(wire.Code_CODE_CONFLICT, "arcbox stop "+m.ref.Name, "machine %q is %s, and about to be started again", m.ref.Name, st.State)
	case m.cloning != nil:
		return refuse(wire.Code_CODE_CONFLICT, "arcbox inspect "+m.ref.Name, "machine %q is %s already", m.ref.Name, m.busy())
	case m.exporting != nil:
		return refuse(wire.Code_CODE_CONFLICT, "arcbox inspect "+m.ref.Name, "machine %q is being exported by %s", m.ref.Name, m.exporting.who)
	case st.OwesProvision():
		return refuse(wire.Code_CODE_CONFLICT, "arcbox start "+m.ref.Name, "machine %q has not been set up yet, and its clone would never be", m.ref.Name)
	}
	return m.roomOnDisk()
}

// clonedSpec is what a clone is to be, and what of the other it does not get: that is
// one machine's at a time, or was said of that machine alone.
func clonedSpec(m fsm.Machine) (s fsm.Spec, note string) {
	s = m.Spec
	s.Owner, s.Protected, s.Provision, s.Ports, s.Blocks = "", false, nil, nil, nil
	var without []string
	for _, p := range m.Spec.Ports {
		if p.In { // of the guest, which has its own
			s.Ports = append(s.Ports, p)
		} else {
			without = append(without, "port "+p.Listen)
		}
	}
	for _, b := range m.Spec.Blocks {
		if b.ReadOnly {
			s.Blocks = append(s.Blocks, b)
		} else {
			without = append(without, "disk "+b.Path)
		}
	}
	if len(without) > 0 {
		note = fmt.Sprintf("without what only one of the two can have: %s", strings.Join(without, ", "))
	}
	return s, note
}

// copyDisk copies a machine's disk under its lock.
func (s *shared) copyDisk(ctx context.Context, ref Ref, say func(any)) (stage string, err error) {
	err = s.underLock(ctx, ref, func() (err error) {
		stage, err = s.CopyDisk(ctx, ref, func(done, all int64) { say(copying{done, all}) })
		return err
	})
	return stage, err
}

// underLock does something with the disk of a machine, of which a VM would be the
// only user otherwise. The lock is free again when it returns.
func (s *shared) underLock(ctx context.Context, ref Ref, do func() error) error {
	limited, cancel := within(ctx, s.Clock, lookTime)
	sight, err := s.Hosts.Look(limited, ref, "")
	cancel()
	if err != nil {
		return err
	}
	if sight.Lock == nil {
		return refuse(wire.Code_CODE_UNSAFE, "arcbox journal why "+ref.Name, "machine %q: %v", ref.Name, ErrLockHeld)
	}
	return errors.Join(do(), sight.Lock.Close())
}

// busy is what the machine's disk is used for, "" = nothing.
func (m *machine) busy() string {
	switch cl := m.cloning; {
	case cl == nil:
		return ""
	case cl.all == 0:
		return "being cloned to " + cl.name
	default:
		return fmt.Sprintf("being cloned to %s: %d of %d MiB", cl.name, cl.done>>20, cl.all>>20)
	}
}

func (m *machine) copying(c copying) {
	if m.cloning != nil {
		m.cloning.done, m.cloning.all = c.done, c.all
		m.publish()
	}
}

// copied: the disk is there, or never will be.
func (m *machine) copied(w *work, r copied) {
	cl := m.cloning
	m.cloning = nil
	m.publish()
	defer m.flush()
	if w.called {
		r.err = refuse(wire.Code_CODE_CONFLICT, "arcbox list", "machine %q: its cloning was given up", m.ref.Name)
	}
	if r.err != nil {
		st := m.state()
		m.answer(cl.c, refused(r.err, &st))
		m.dropStage(r.stage)
		return
	}
	m.send(m.sup, cloneReady{cl, r.stage})
}

// cloneMade makes this machine, which has no record yet, the clone.
func (m *machine) cloneMade(r cloneReady) {
	mk := &making{c: r.c, spec: r.spec, of: &r.of, note: r.note}
	if err := m.makeWith(mk, nil, r.stage); err != nil {
		m.neverWas()
		m.answer(r.c, refused(err, nil))
		m.dropStage(r.stage)
		return
	}
	m.reconcile()
}
