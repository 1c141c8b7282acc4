package actors

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/fsm"
)

// machine is the actor of one machine: the only writer of its state.
type machine struct {
	*shared
	self *actor.PID
	life *fsm.Lifecycle
	ref  Ref

	// unseen: nobody has looked at its lock since the engine started. Commands
	// wait in held until somebody has.
	unseen bool
	held   []*command

	start     *starting // a start that has no record yet
	making    *making   // a create that has no record yet
	exporting *exporting
	cloning   *cloning
	work      map[fsm.Duty]*work
	odd       map[string]*work // workers that no duty owes: look, lock, kill
	waiters   []*waiter
	lock      Lock      // for the launch that is owed
	verdict   fsm.Cause // why we kill the VM, where the state does not say
	relaunch  string    // why the launch will be replaced when its VM is gone
	moving    string    // why it will be replaced by one with another CID, which is being reserved
	moves     int       // how often that was so since the start
	adopt     bool      // append adopted when the VM host answers
	killStray *command  // somebody wants the stray gone
	free      *freed    // of the VM that runs, or may
	remover   *command  // who wants a machine removed that does not run, even if they have gone
	orphan    bool      // its owner was seen to have ended
	pace      pace      // of what the guest makes us write
	netWhy    string    // what is wrong with its network
	shares    []string  // what is wrong with each of its VM's shares; nil = not known
	sharesAsk bool      // they are to be asked for once more
	growWhy   string    // why its disk did not grow while its VM runs
	done      bool      // removed and cleaned
	void      bool      // its create was refused: it never was
}

// work is one worker: a goroutine that does a thing, and posts one workDone.
type work struct {
	duty   fsm.Duty
	name   string
	cancel context.CancelFunc
	over   bool // its result is here; a duty that is still owed is not begun again
	called bool // it was cancelled
}

// newMachine makes the actor of a folded machine. The zero Machine, with an
// id, is one that is about to be created.
func newMachine(s *shared, m fsm.Machine, unseen bool) *machine {
	return &machine{
		shared: s, life: fsm.NewLifecycle(m), ref: refOf(m), unseen: unseen, free: newFreed(),
		work: map[fsm.Duty]*work{}, odd: map[string]*work{},
	}
}

// Receive implements actor.Actor.
func (m *machine) Receive(ctx actor.Context) {
	defer func() {
		if r := recover(); r != nil {
			m.broken(ctx, r)
			if !m.again() {
				panic(r) // the supervisor forgets it, or spawns it again
			}
		}
	}()
	switch msg := ctx.Message().(type) {
	case *actor.Started:
		m.self = ctx.Self()
		m.begin()
	case *actor.Stopping:
		m.end()
	case *actor.Stopped:
		// protoactor's set of children keeps those that were removed in its
		// array's tail, as many as there once were at once.
		m.life, m.work, m.odd, m.held, m.waiters, m.killStray = nil, nil, nil, nil, nil, nil
	case workDone:
		m.workDone(msg)
	case workSaid:
		m.workSaid(msg)
	case cidReserved:
		m.cidReserved(msg.cid)
	case giveUp:
		m.giveUp(msg.w)
	case *wire.ClientGone:
		m.clientGone(msg.Address)
	case lookFirst:
		m.lookFirst()
	case networkSaid:
		m.networkSaid(msg.state)
	case bidden:
		m.command(msg.c)
	case cloneReady:
		m.cloneMade(msg)
	case *exporting:
		m.exportBegun(msg)
	default:
		if c := commandOf(ctx); c != nil {
			m.command(c)
		}
	}
}

func (m *machine) state() fsm.Machine { return m.life.Machine() }

// begin is where a booting engine's actors start. One that was never started
// has no directory, so that there is nothing to look at.
func (m *machine) begin() {
	if m.state().State == fsm.None {
		return // create comes as its first message
	}
	m.publish()
	if m.unseen {
		m.lookAtBoot()
		return
	}
	m.reconcile()
}

// end stops every worker. VMs run on.
func (m *machine) end() {
	for _, w := range m.work {
		w.stop()
	}
	for _, w := range m.odd {
		w.stop()
	}
	m.dropLock()
}

// broken is what the clients of a panicking actor hear.
func (m *machine) broken(ctx actor.Context, r any) {
	m.Log.Error("machine's actor panicked", "machine", m.ref.Name, "panic", r, "stack", string(debug.Stack()))
	err := fmt.Errorf("machine %q: a bug in the engine: %v", m.ref.Name, r)
	to := ctx.Sender()
	switch msg := ctx.Message().(type) {
	case bidden:
		to = msg.c.from
	case cloneReady:
		to = msg.c.from
	}
	if to != nil {
		m.send(to, refused(err, nil))
	}
	for _, w := range m.waiters {
		if w.c.from == to {
			w.c.from = nil // has heard: the supervisor counts answers
		}
		m.dismiss(w, refused(err, nil))
	}
	for _, c := range m.held {
		if m.answer(c, refused(err, nil)); c.promised {
			m.nameSettled()
		}
	}
	if m.cloning != nil {
		m.answer(m.cloning.c, refused(err, nil))
	}
	if m.making != nil {
		m.answer(m.making.c, refused(err, nil))
		m.making.release()
	}
	if m.start != nil {
		m.answer(m.start.c, refused(err, nil))
		m.send(m.sup, cidFreed{m.ref.ID, m.start.cid})
	}
	m.end()
}

// again makes the machine anew from the journal, behind a panic. It keeps its
// place, so that no request on its way to it is lost. What the workers of its
// former life bring is dropped.
func (m *machine) again() bool {
	st, ok := m.Journal.Machine(m.ref.ID)
	if !ok {
		return false
	}
	fresh := newMachine(m.shared, st, st.State.Live() || st.Dir || st.Damaged)
	fresh.self = m.self
	*m = *fresh
	m.begin()
	return true
}

// append writes records, applies them and publishes what became of them. The
// machine has changed only when they are durable.
func (m *machine) append(recs ...fsm.Record) error {
	state := m.state().State
	for i := range recs {
		r := &recs[i]
		r.Machine, r.Kind = m.ref.ID, r.Fact.Kind()
		if r.Principal == "" {
			r.Principal = "engine"
		}
		if fsm.Moves(r.Kind) {
			next, err := fsm.Next(state, r.Kind)
			if err != nil && !m.state().Damaged {
				return fmt.Errorf("append %s: %w", r.Kind, err)
			}
			if err != nil {
				next = fsm.Stopped // only repaired is appended to a damaged machine
			}
			state = next
			r.To, r.Name = state, m.ref.Name
		}
		m.fillLaunch(r)
	}
	stored, err := m.Journal.Append(recs...)
	if err != nil {
		return fmt.Errorf("append %s: %w", recs[0].Kind, err)
	}
	for _, r := range stored {
		if err := m.life.Apply(r); err != nil {
			panic(err) // the journal and the lifecycle share one table
		}
		m.pace.moved(r)
		m.Log.Info("record", "machine", m.ref.Name, "kind", r.Kind, "state", m.state().State, "seq", r.Seq, "by", r.Principal)
	}
	m.publish()
	m.told(stored)
	return nil
}

// told answers those who waited for records. Whoever hears of one finds all
// that follows from it: the view shows it, and a removed machine's name is free.
func (m *machine) told(stored []fsm.Record) {
	if m.state().State == fsm.Removed {
		m.leases.free(m.ref.ID, m.state().Lease)
		m.send(m.sup, nameFreed{m.ref.ID})
	}
	for _, r := range stored {
		m.settle(r)
	}
}

// fillLaunch says which launch a record is about, and the CID that it claims.
func (m *machine) fillLaunch(r *fsm.Record) {
	l := m.state().Launch
	if l == nil {
		return
	}
	if r.Launch == "" {
		r.Launch = l.ID
	}
	if r.CID == 0 && fsm.Moves(r.Kind) && r.To.Live() {
		r.CID = l.CID
	}
}

// observed appends what has happened, whether anybody likes it or not. That it
// can't be appended is a bug: the actor starts again from the journal.
func (m *machine) observed(recs ...fsm.Record) {
	if err := m.append(recs...); err != nil {
		panic(err)
	}
}

func (m *machine) publish() {
	if m.state().Launch == nil {
		m.netWhy, m.growWhy, m.shares = "", "", nil
	}
	m.view.publish(&Seen{Machine: m.state(), Unseen: m.unseen, Shares: m.shares, Busy: m.busy()})
	m.wantNetwork(m.state())
}

func (m *machine) dropLock() {
	if m.lock != nil {
		m.closeLock(m.lock)
		m.lock = nil
	}
}

func (m *machine) closeLock(l Lock) {
	if l == nil {
		return
	}
	if err := l.Close(); err != nil {
		m.Log.Warn("close lock", "machine", m.ref.Name, "err", err)
	}
}

// stop cancels a worker. Its result still comes, and is dropped.
func (w *work) stop() {
	w.called = true
	w.cancel()
}

// run starts a worker for a duty.
func (m *machine) run(d fsm.Duty, f func(ctx context.Context, say func(any)) any) *work {
	w := &work{duty: d, name: string(d.Kind)}
	m.work[d] = w
	m.spawn(w, f)
	return w
}

// runOdd starts a worker that no duty owes, unless it runs already.
func (m *machine) runOdd(name string, f func(ctx context.Context, say func(any)) any) {
	if w := m.odd[name]; w != nil && !w.called {
		return
	}
	w := &work{name: name}
	m.odd[name] = w
	m.spawn(w, f)
}

func (m *machine) spawn(w *work, f func(ctx context.Context, say func(any)) any) {
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel = cancel
	self := m.self
	go func() {
		result := f(ctx, func(said any) { m.send(self, workSaid{w, said}) })
		m.send(self, workDone{w, result})
	}()
}

// stopOdd cancels a worker that no duty owes.
func (m *machine) stopOdd(name string) {
	if w := m.odd[name]; w != nil {
		w.stop()
	}
}

// until is the time left to a deadline: never less than what is left of the ten
// seconds after an adoption.
func (m *machine) until(deadline fsm.Moment) time.Duration {
	left := deadline.Until(m.Clock.Moment())
	if l := m.state().Launch; l != nil && !l.Adopted.IsZero() {
		left = max(left, l.Adopted.Add(adoptionGrace).Until(m.Clock.Moment()))
	}
	return max(left, 0)
}
