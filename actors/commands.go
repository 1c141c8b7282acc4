package actors

import (
	"context"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/fsm"
)

// admissions says what a command leads to in each state: the engine's fourth
// table. What has no cell is refused as a conflict.
var admissions map[verb]map[fsm.State]func(*machine, *command) error

func init() {
	admissions = map[verb]map[fsm.State]func(*machine, *command) error{
		verbCreate: {
			fsm.None:    (*machine).create,
			fsm.Created: (*machine).nameTaken, fsm.Starting: (*machine).nameTaken, fsm.Running: (*machine).nameTaken,
			fsm.Stopping: (*machine).nameTaken, fsm.Stopped: (*machine).nameTaken,
		},
		verbStart: {
			fsm.Created: (*machine).startAsked, fsm.Stopped: (*machine).startAsked,
			fsm.Starting: (*machine).await, fsm.Running: (*machine).already,
		},
		verbStop: {
			fsm.Created: (*machine).stopIdle, fsm.Stopped: (*machine).stopIdle,
			fsm.Starting: (*machine).stopAsked, fsm.Running: (*machine).stopAsked, fsm.Stopping: (*machine).stopAgain,
		},
		verbRestart: {
			fsm.Created: (*machine).startAsked, fsm.Stopped: (*machine).startAsked,
			fsm.Starting: (*machine).restartLive, fsm.Running: (*machine).restartLive, fsm.Stopping: (*machine).stopAgain,
		},
		verbRemove: {
			fsm.Created: removable((*machine).removeIdle), fsm.Stopped: removable((*machine).removeIdle),
			fsm.Starting: removable((*machine).removeLive), fsm.Running: removable((*machine).removeLive), fsm.Stopping: removable((*machine).removeStopping),
		},
		verbSet: {
			fsm.Created: (*machine).set, fsm.Stopped: (*machine).set,
			fsm.Starting: (*machine).set, fsm.Running: (*machine).set, fsm.Stopping: (*machine).set,
		},
		verbAgain: {
			fsm.Created: (*machine).provisionAgain, fsm.Stopped: (*machine).provisionAgain,
			fsm.Starting: (*machine).provisionAgain, fsm.Running: (*machine).provisionAgain, fsm.Stopping: (*machine).provisionAgain,
		},
		verbPause:   {fsm.Running: (*machine).pauseAsked},
		verbResume:  {fsm.Running: (*machine).resumeAsked},
		verbSuspend: {fsm.Running: (*machine).suspendAsked, fsm.Stopped: (*machine).suspendedAlready},
		verbClone:   {fsm.Created: (*machine).clone, fsm.Stopped: (*machine).clone},
		verbRename:  {fsm.Created: (*machine).rename, fsm.Stopped: (*machine).rename},
		verbExport:  {fsm.Created: (*machine).export, fsm.Stopped: (*machine).export},
		verbAwait:   anyState((*machine).awaitState),
		verbLog:     anyState((*machine).openLog),
		verbOpen:    {fsm.Running: (*machine).openGuest, fsm.Stopping: (*machine).openGuest, fsm.Starting: (*machine).openGuest},
	}
}

func anyState(f func(*machine, *command) error) map[fsm.State]func(*machine, *command) error {
	all := map[fsm.State]func(*machine, *command) error{}
	for _, s := range fsm.States {
		all[s] = f
	}
	return all
}

// command admits a request, or refuses it.
func (m *machine) command(c *command) {
	if m.waits(c) || m.start != nil || m.making != nil || m.moving != "" || m.givingUp() {
		m.held = append(m.held, c) // bounded in time: a look and a start end by themselves
		return
	}
	if c.promised {
		defer m.nameSettled()
	}
	if st := m.state().State; c.verb == verbCreate && (m.void || st == fsm.Removed) {
		m.handBack(c)
		return
	}
	if err := m.admit(c); err != nil {
		st := m.state()
		if c.verb == verbCreate && st.State == fsm.None {
			m.neverWas()
		}
		m.send(c.from, refused(err, &st))
		return
	}
	m.reconcile()
}

// waits tells whether a command needs to know what the machine does, and nobody has
// looked yet. So does one by another name, which may become the machine's by a rename
// that waits here too: handed back, it would come again at once.
func (m *machine) waits(c *command) bool {
	return m.unseen && (c.verb != verbAwait && c.verb != verbLog || !m.meant(c))
}

// neverWas: its create was refused.
func (m *machine) neverWas() {
	m.void = true
	m.send(m.sup, nameFreed{m.ref.ID})
	m.send(m.sup, cleaned{m.ref.ID})
}

// handBack gives a command to the supervisor again: the name that it is about was
// this machine's when it came, and is not any more.
func (m *machine) handBack(c *command) { m.send(m.sup, c.envelope()) }

func (m *machine) admit(c *command) error {
	if done, err := m.repeated(c); done || err != nil {
		return err
	}
	if !m.meant(c) {
		m.handBack(c)
		return nil
	}
	act := admissions[c.verb][m.state().State]
	if act == nil {
		return m.conflict(c)
	}
	return act(m, c)
}

// conflict is the refusal of a command that the state does not allow.
func (m *machine) conflict(c *command) error {
	st := m.state()
	switch hint := "arcbox journal why " + m.ref.Name; {
	case st.State == fsm.Removed, st.State == fsm.None:
		return notFound(m.ref.Name)
	case c.verb == verbClone:
		return refuse(wire.Code_CODE_CONFLICT, "arcbox stop "+m.ref.Name, "machine %q is %s: only one that is stopped can be cloned", m.ref.Name, st.State)
	case c.verb == verbRename:
		return refuse(wire.Code_CODE_CONFLICT, "arcbox stop "+m.ref.Name, "machine %q is %s: only one that does not run can be renamed", m.ref.Name, st.State)
	case c.verb == verbExport:
		return refuse(wire.Code_CODE_CONFLICT, "arcbox stop "+m.ref.Name, "machine %q is %s: only one that is stopped can be exported", m.ref.Name, st.State)
	case (c.verb == verbPause || c.verb == verbResume) && !st.State.Live():
		return refuse(wire.Code_CODE_CONFLICT, "arcbox start "+m.ref.Name, "machine %q is %s: only one that is Running can be paused and resumed", m.ref.Name, st.State)
	case c.verb == verbSuspend && !st.State.Live():
		return refuse(wire.Code_CODE_CONFLICT, "arcbox start "+m.ref.Name, "machine %q is %s: only one that is Running can be suspended", m.ref.Name, st.State)
	case c.verb == verbOpen:
		return refuse(wire.Code_CODE_CONFLICT, "arcbox start "+m.ref.Name, "machine %q is %s: it has no guest to talk to", m.ref.Name, st.State)
	default:
		return refuse(wire.Code_CODE_CONFLICT, hint, "machine %q is %s: %s is not possible now", m.ref.Name, st.State, c.verb)
	}
}

// repeated answers a request that was carried out before as it was answered
// then, and does nothing twice.
func (m *machine) repeated(c *command) (bool, error) {
	if c.request == "" {
		return false, nil
	}
	o, ok := m.Journal.Request(c.principal, c.request)
	if !ok {
		return false, nil
	}
	gone := m.state().State == fsm.Removed
	if o.Machine != m.ref.ID {
		if _, there := m.view.ByID(o.Machine); there {
			return true, m.passOn(c, o)
		}
		gone = true // its machine had this one's name before
	}
	if gone {
		out, err := m.doneBefore(c.verb, o, m.ref.Name)
		if err == nil {
			m.send(c.from, out)
		}
		return true, err
	}
	w := &waiter{c: c, since: o.Seq, repeated: true}
	out, err := m.then(w)
	if err != nil {
		return true, err
	}
	if out == nil {
		out = w.now(m)
	}
	if out != nil {
		m.send(c.from, out)
		return true, nil
	}
	m.waiters = append(m.waiters, w)
	return true, nil
}

func (m *machine) create(c *command) error {
	msg := c.msg.(*wire.CreateMachine)
	spec, err := checkSpec(msg.GetSpec(), m.Limits, m.AllowSim)
	if err != nil {
		return err
	}
	if err := m.mayAdopt(spec, msg.GetStage()); err != nil {
		return err
	}
	if err := m.ownBlocks(spec.Blocks); err != nil {
		return err
	}
	if err := m.ownShares(spec.Shares); err != nil {
		return err
	}
	if spec.Ports, err = m.freePorts(spec.Ports); err != nil {
		return err
	}
	return m.makeWith(&making{c: c, spec: spec}, msg.GetSpec().GetProvision().GetText(), msg.GetStage())
}

// makeWith makes this machine, which has no record yet: at once, or when the script
// that is to set it up is kept, or the disk is its own that came before it.
func (m *machine) makeWith(mk *making, script []byte, stage string) (err error) {
	if err = m.roomOnDisk(); err != nil {
		return err
	}
	mk.release, mk.disk = func() {}, stage != ""
	if mk.spec.Image != "" { // nobody removes it before it is known to be used
		if mk.release, err = m.HoldImage(mk.spec.Image); err != nil {
			return err
		}
	}
	switch {
	case mk.spec.Provision != nil:
		return m.keepFirst(mk, script)
	case stage != "":
		m.adoptFirst(mk, stage)
		return nil
	}
	defer mk.release()
	return m.created(mk)
}

// created appends the record that makes the machine, and with it that it has a disk
// already.
func (m *machine) created(mk *making) error {
	c, spec := mk.c, mk.spec
	lease, err := m.lease(spec)
	if err != nil {
		return err
	}
	recs := []fsm.Record{{
		Principal: c.principal, Request: c.request, Reason: fsm.ReasonPerson,
		Fact: &fsm.CreatedFact{Spec: spec, RunTag: m.ref.RunTag, Lease: lease, Of: mk.of},
	}}
	if mk.disk {
		recs = append(recs, fsm.Record{Principal: c.principal, Fact: &fsm.DiskFormattedFact{Disk: fsm.DataDisk, Size: spec.Disk}})
	}
	if err = m.append(recs...); err != nil {
		m.leases.free(m.ref.ID, lease)
		return err
	}
	m.ref = refOf(m.state())
	m.finish(c, mk.note)
	return nil
}

// roomOnDisk refuses what would grow a full disk.
func (m *machine) roomOnDisk() error {
	if m.Journal.DiskLow() {
		return refuse(wire.Code_CODE_LACKING, "df -h "+m.Home, "the disk of %s is nearly full: stop and rm work, create, start and set do not", m.Home)
	}
	return nil
}

func (m *machine) nameTaken(c *command) error {
	return taken(c.msg.(*wire.CreateMachine).GetName(), m.ref.Name)
}

// taken refuses a name that another machine has, written in whatever case.
func taken(wanted, name string) error {
	r := refuse(wire.Code_CODE_CONFLICT, "arcbox inspect "+name, "there is a machine %q already", name)
	if r.Field = "name"; wanted != name {
		r.Message = fmt.Sprintf("name %q: there is a machine %q already, and names are compared without case", wanted, name)
	}
	return r
}

func (m *machine) already(c *command) error {
	if err := m.asleep("it runs already, and its guest is held still"); err != nil {
		return err
	}
	m.finish(c, "it was running already")
	return nil
}

// await answers when the verb's outcome is known.
func (m *machine) await(c *command) error {
	m.waiters = append(m.waiters, &waiter{c: c, since: m.state().Seq})
	return nil
}

// stopIdle: a stop of what does not run takes back what would start it, and
// ends a stray.
func (m *machine) stopIdle(c *command) error {
	st := m.state()
	if c.reason == fsm.ReasonEngineStop || c.reason == fsm.ReasonHostShutdown {
		m.finish(c, "")
		return nil
	}
	if len(fsm.Owed(st)) > 0 || st.Desired != fsm.DesiredStopped {
		if err := m.append(fsm.Record{
			Principal: c.principal, Request: c.request, Reason: c.reason,
			Fact: &fsm.DesiredChangedFact{Desired: fsm.DesiredStopped},
		}); err != nil {
			return err
		}
	}
	if st.Stray != nil {
		m.killStray = c
		m.kill()
		return nil
	}
	m.finish(c, and("it was stopped already", ofSaved(st)))
	return nil
}

// stopAsked begins the end of a live machine: stop, restart, or the engine's.
func (m *machine) stopAsked(c *command) error {
	fact, err := m.stopFact(c)
	if err != nil {
		return err
	}
	if err := m.append(fsm.Record{Principal: c.principal, Request: c.request, Reason: c.reason, Fact: fact}); err != nil {
		return err
	}
	return m.await(c)
}

// restartLive ends nothing that could not be started again.
func (m *machine) restartLive(c *command) error {
	if err := m.mayStart(); err != nil {
		return err
	}
	return m.stopAsked(c)
}

// stopFact says how a stop is to go.
func (m *machine) stopFact(c *command) (*fsm.StopRequestedFact, error) {
	now := m.Clock.Moment()
	switch msg := c.msg.(type) {
	case *wire.StopMachine:
		if msg.GetNoKill() && fsm.May(m.state().State, fsm.KindReady) {
			return nil, refuse(wire.Code_CODE_CONFLICT, "arcbox stop "+m.ref.Name, "machine %q is %s: a stop that must not kill needs a machine that runs", m.ref.Name, m.state().State)
		}
		f := &fsm.StopRequestedFact{Mode: fsm.StopGraceful, NoKill: msg.GetNoKill(), Deadline: now.Add(timeout(msg.GetTimeoutNanos(), DefaultStop))}
		if msg.GetKill() {
			f.Mode, f.Deadline = fsm.StopKill, now
		}
		return f, nil
	case *wire.RestartMachine:
		c.reason = fsm.ReasonRestart
		f := &fsm.StopRequestedFact{Mode: fsm.StopGraceful, Then: fsm.ThenStart, Deadline: now.Add(timeout(msg.GetTimeoutNanos(), DefaultStop))}
		if msg.GetKill() {
			f.Mode, f.Deadline = fsm.StopKill, now
		}
		return f, nil
	case *wire.RemoveMachine:
		c.reason = fsm.ReasonRemove
		return &fsm.StopRequestedFact{Mode: fsm.StopKill, Deadline: now, Then: fsm.ThenRemove}, nil
	}
	return nil, refuse(wire.Code_CODE_INTERNAL, versionsHint, "no stop in %T", c.msg)
}

// stopAgain: a kill or an earlier deadline overtakes, a later one never does;
// removal goes over everything, else the last person's word counts.
func (m *machine) stopAgain(c *command) error {
	want, err := m.stopFact(c)
	if err != nil {
		return err
	}
	old := m.state().Stop
	next := fsm.StopTightenedFact{Mode: old.Mode, Deadline: old.Deadline, NoKill: old.NoKill && want.NoKill, Then: want.Then}
	switch {
	case want.Mode == fsm.StopKill:
		next.Mode, next.NoKill = fsm.StopKill, false
	case old.Mode == fsm.StopSave:
		next.Mode, next.NoKill, next.Deadline = want.Mode, want.NoKill, want.Deadline
	}
	if want.Deadline.Until(old.Deadline) < 0 {
		next.Deadline = want.Deadline
	}
	byPerson := c.reason == fsm.ReasonPerson || c.reason == fsm.ReasonRestart || c.reason == fsm.ReasonRemove
	if old.Then == fsm.ThenRemove || !byPerson {
		next.Then = old.Then
	}
	same := next == fsm.StopTightenedFact{Mode: old.Mode, Deadline: old.Deadline, NoKill: old.NoKill, Then: old.Then}
	if !same {
		if err := m.append(fsm.Record{Principal: c.principal, Request: c.request, Reason: c.reason, Fact: &next}); err != nil {
			return err
		}
	}
	return m.await(c)
}

func (m *machine) removeIdle(c *command) error {
	st := m.state()
	force := c.msg.(*wire.RemoveMachine).GetForce()
	if m.exporting != nil {
		return m.removeRead(c, force, "being exported by "+m.exporting.who)
	}
	if m.cloning != nil {
		return m.removeRead(c, force, m.busy())
	}
	if st.Stray != nil && !force {
		return refuse(wire.Code_CODE_UNSAFE, "arcbox rm -f "+m.ref.Name, "machine %q is %s, but a VM runs that should not: rm needs -f", m.ref.Name, st.State)
	}
	m.waiters = append(m.waiters, &waiter{c: c, since: st.Seq})
	if m.remover == nil {
		m.remover = c
	}
	if st.Stray != nil {
		m.killStray = c
		m.kill()
		return nil
	}
	m.removeNow(force)
	return nil
}

// removeRead is a removal while the disk is read, under the machine's lock: with force
// it ends that, and comes again behind it.
func (m *machine) removeRead(c *command, force bool, what string) error {
	if !force {
		return refuse(wire.Code_CODE_UNSAFE, "arcbox rm -f "+m.ref.Name, "machine %q is %s: rm needs -f, which ends that", m.ref.Name, what)
	}
	for _, name := range reads {
		m.stopOdd(name)
	}
	m.held = append(m.held, c)
	return nil
}

// reads are the workers that read the machine's disk.
var reads = []string{cloneWork, exportWork}

// givingUp tells whether one of them was told to end and has not yet, which it does
// within one piece of the disk.
func (m *machine) givingUp() bool {
	return slices.ContainsFunc(reads, func(name string) bool { w := m.odd[name]; return w != nil && w.called })
}

// removeNow takes the lock, in a worker, for removed. With force it kills
// whoever holds it.
func (m *machine) removeNow(force bool) {
	for d, w := range m.work { // whatever would start it again
		if d.Kind == fsm.DutyStart && !w.over {
			w.stop()
		}
	}
	s, ref := m.shared, m.ref
	m.runOdd("remove", func(ctx context.Context, _ func(any)) any {
		if force {
			return prepared{lock: s.regain(ctx, ref)}
		}
		limited, cancel := within(ctx, s.Clock, lookTime)
		defer cancel()
		sight, err := s.Hosts.Look(limited, ref, "")
		if err == nil && sight.Lock == nil {
			err = refuse(wire.Code_CODE_UNSAFE, "arcbox rm -f "+ref.Name, "machine %q: its lock is held by a VM that should not run: rm needs -f", ref.Name)
		}
		return prepared{lock: sight.Lock, err: err}
	})
}

func (m *machine) removeLive(c *command) error {
	if !c.msg.(*wire.RemoveMachine).GetForce() {
		return refuse(wire.Code_CODE_UNSAFE, "arcbox rm -f "+m.ref.Name, "machine %q is %s: rm needs -f, which kills it", m.ref.Name, m.state().State)
	}
	return m.stopAsked(c)
}

func (m *machine) removeStopping(c *command) error {
	if !c.msg.(*wire.RemoveMachine).GetForce() {
		return refuse(wire.Code_CODE_UNSAFE, "arcbox rm -f "+m.ref.Name, "machine %q is %s: wait for its end, or rm -f, which kills it", m.ref.Name, m.state().State)
	}
	return m.stopAgain(c)
}

// finish answers one command at once.
func (m *machine) finish(c *command, note string) {
	m.send(c.from, m.doneMessage(note))
}

func (m *machine) doneMessage(note string) *wire.Done {
	return &wire.Done{Seq: m.state().Seq, Machine: m.onWire(), Note: note}
}

func (m *machine) onWire() *wire.Machine {
	st := m.state()
	return machineOnWire(m.shared, &Seen{Machine: st, Unseen: m.unseen}, true)
}

// answer sends to whoever asked, if anybody did.
func (m *machine) answer(c *command, msg proto.Message) {
	if c != nil && c.from != nil {
		m.send(c.from, msg)
	}
}
