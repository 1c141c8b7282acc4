package actors

import (
	"slices"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/fsm"
	"github.com/arcboxlabs/arcbox-engine/journal"
)

// rename keeps the new name for a machine and lets it append renamed. Both names
// lead to it until it says which one it has; nobody else is given either.
func (s *supervisor) rename(ctx actor.Context, msg *wire.RenameMachine) {
	name := msg.GetNewName()
	if s.early(ctx, msg, name, fsm.KindRenamed) {
		return
	}
	mem := s.find(msg.GetName())
	if mem == nil {
		s.reply(ctx, refused(s.missing(msg.GetName()), nil))
		return
	}
	holder := s.reg.named(name)
	switch {
	case mem.next != "":
		ctx.Forward(mem.pid) // which hands it back behind the rename under way
	case holder != nil && holder != mem && s.durably(holder, name):
		s.reply(ctx, refused(taken(name, holder.name), nil))
	case holder != nil && holder != mem:
		ctx.Forward(holder.pid)
	default:
		s.reg.promise(mem, name)
		c := commandOf(ctx)
		c.promised = true
		ctx.Send(mem.pid, bidden{c})
	}
}

// durably tells whether a machine has a name on the disk. Only what is durable may
// refuse: else a crash makes the refusal a lie. Until then the machine itself
// answers, behind what it is about to append.
func (s *shared) durably(holder *member, name string) bool {
	seen, ok := s.view.ByID(holder.id)
	return ok && nameKey(seen.Name) == nameKey(name)
}

// missing is the refusal of a name that no machine has, with the one that a machine
// of that name has now.
func (s *shared) missing(name string) *Refusal {
	r := notFound(clip(name, 80))
	if !label.MatchString(name) {
		return r
	}
	ever, err := s.Journal.ByName(name)
	if err != nil {
		return r
	}
	for _, m := range slices.Backward(ever) {
		if m.State != fsm.Removed && m.Renamed != 0 {
			r.Message += ": it is called \"" + m.Name + "\" now"
			return hinted(r, "arcbox inspect "+m.Name)
		}
	}
	return r
}

// wasNamed tells whether a machine ever had a name.
func (s *shared) wasNamed(id, name string) bool {
	ever, err := s.Journal.ByName(name)
	return err == nil && slices.ContainsFunc(ever, func(m fsm.Machine) bool { return m.ID == id })
}

// passOn has a request answered by the machine that it was carried out for, which
// had another's name then.
func (s *supervisor) passOn(ctx actor.Context, p passedOn) {
	if mem := s.reg.ids[p.o.Machine]; mem != nil {
		ctx.Send(mem.pid, p.c.envelope())
		return
	}
	s.send(p.c.from, orRefused(s.doneBefore(p.c.verb, p.o, clip(p.c.made(), 80)))) // it was removed since
}

// passOn is for a request whose id is known from another machine.
func (m *machine) passOn(c *command, o journal.Outcome) error {
	if !m.wasNamed(o.Machine, c.made()) {
		return refuse(wire.Code_CODE_CONFLICT, "arcbox journal --limit 20", "request id %s was used for another machine", c.request)
	}
	m.send(m.sup, passedOn{o, c})
	return nil
}

// meant tells whether a command is for this machine, under the name that it has by
// now. A rename without a promise never is: the supervisor has to think again.
func (m *machine) meant(c *command) bool {
	name := c.msg.(named).GetName()
	if c.verb == verbRename && !c.promised {
		return false
	}
	return name == "" || name == m.ref.ID || nameKey(name) == nameKey(m.ref.Name)
}

// nameSettled tells the supervisor which name the machine has on the disk.
func (m *machine) nameSettled() {
	name := m.ref.Name
	if st, ok := m.Journal.Machine(m.ref.ID); ok {
		name = st.Name
	}
	m.send(m.sup, renamed{m.ref.ID, name})
}

// rename gives the machine another name. It is at rest: nothing that was asked of
// it, or that it owes, is under way by its old one.
func (m *machine) rename(c *command) error {
	st, name := m.state(), c.msg.(*wire.RenameMachine).GetNewName()
	if name == st.Name {
		m.finish(c, "it was so already")
		return nil
	}
	if err := m.alone(); err != nil {
		return err
	}
	if len(fsm.Owed(st)) > 0 {
		return refuse(wire.Code_CODE_CONFLICT, "arcbox stop "+st.Name, "machine %q is %s, and about to be started again", st.Name, st.State)
	}
	if err := m.roomOnDisk(); err != nil {
		return err
	}
	err := m.append(fsm.Record{
		Principal: c.principal, Request: c.request, Reason: c.reason, Name: name, Fact: &fsm.RenamedFact{From: st.Name},
	})
	if err != nil {
		return err
	}
	m.ref = refOf(m.state())
	note := ""
	if st.Dir {
		note = "its guest is told at the next start"
	}
	m.finish(c, note)
	return nil
}
