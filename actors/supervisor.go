package actors

import (
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/fsm"
	"github.com/arcboxlabs/arcbox-engine/journal"
)

// supervisor owns names and CIDs, and is the machines' parent. It waits for
// nothing.
type supervisor struct {
	*shared
	reg      *registry
	boot     []fsm.Machine // to be spawned at start
	left     leftovers     // to be looked at by then
	stopping *engineStop
	ending   bool // the engine ends: machines' actors that end are not missed
}

// engineStop is a StopEngine under way.
type engineStop struct {
	c    *command
	left int // machines that have not answered yet
}

// goesDown tells whether no machine may be made any more. An actor that is spawned
// while its parent stops is never told to stop, and its parent waits for it.
func (s *supervisor) goesDown() bool { return s.stopping != nil || s.ending }

// Receive implements actor.Actor.
func (s *supervisor) Receive(ctx actor.Context) {
	defer func() {
		if r := recover(); r != nil {
			s.Fatal(fmt.Errorf("supervisor: %v\n%s", r, debug.Stack()))
		}
	}()
	switch msg := ctx.Message().(type) {
	case *actor.Started:
		s.begin(ctx)
	case *actor.Stopping:
		s.ending = true
	case *actor.Terminated:
		s.respawn(ctx, msg.Who)
	case cidWanted:
		s.reserve(ctx, msg.id)
	case cidFreed:
		s.reg.free(msg.id, msg.cid)
	case cidKept:
		s.reg.hold(msg.id, msg.cid)
	case networkSaid:
		if mem := s.reg.ids[msg.id]; mem != nil {
			ctx.Send(mem.pid, msg)
		}
	case nameFreed:
		s.reg.leave(msg.id)
	case renamed:
		s.reg.settle(msg.id, msg.name)
	case passedOn:
		s.passOn(ctx, msg)
	case cloneReady:
		s.cloneReady(ctx, msg)
	case cleaned:
		s.cleaned(ctx, msg.id)
	case *wire.ClientGone:
		for _, m := range s.reg.ids {
			ctx.Send(m.pid, msg)
		}
	default:
		s.request(ctx)
	}
}

func (s *supervisor) request(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case *wire.ListMachines:
		s.reply(ctx, listOnWire(s.shared, msg))
	case *wire.EngineStatus:
		s.reply(ctx, engineOnWire(s.shared))
	case *wire.InspectMachine:
		s.inspect(ctx, msg)
	case *wire.CreateMachine:
		s.create(ctx, msg)
	case *wire.RenameMachine:
		s.rename(ctx, msg)
	case *wire.CloneMachine:
		s.clone(ctx, msg)
	case *wire.StopEngine:
		s.stopEngine(ctx, msg)
	case *wire.StageDisk:
		s.stageDisk(ctx)
	case *wire.Done, *wire.Refused: // of a machine that stops with the engine
		s.stoppedOne()
	default:
		if commandOf(ctx) != nil {
			s.forward(ctx)
		}
	}
}

// begin spawns the machines that the journal knows, and those that left a
// directory behind. The first of them may speak before whoever spawned the
// supervisor knows its address.
func (s *supervisor) begin(ctx actor.Context) {
	s.sup = ctx.Self()
	for _, m := range slices.Concat(s.boot, s.left.removed) {
		s.adopt(ctx, m)
	}
	for id, cid := range s.left.cids {
		s.reg.hold(id, cid)
	}
	for _, id := range s.left.unstarted {
		if mem := s.reg.ids[id]; mem != nil {
			ctx.Send(mem.pid, lookFirst{})
		}
	}
	s.boot, s.left = nil, leftovers{}
}

// adopt spawns the actor of a folded machine.
func (s *supervisor) adopt(ctx actor.Context, m fsm.Machine) {
	mem := &member{id: m.ID, name: m.Name}
	if m.State == fsm.Removed {
		mem.left = true
		s.reg.ids[m.ID] = mem
	} else if holder, ok := s.reg.join(mem); !ok {
		s.Log.Error("two machines have one name", "name", m.Name, "machine", m.ID, "other", holder.id)
		s.reg.ids[m.ID] = mem
	}
	s.reg.hold(m.ID, m.CID())
	s.spawn(ctx, mem, m)
}

func (s *supervisor) spawn(ctx actor.Context, mem *member, m fsm.Machine) {
	unseen := m.State.Live() || m.Dir || m.Damaged
	props := actor.PropsFromProducer(func() actor.Actor { return newMachine(s.shared, m, unseen) })
	pid, err := ctx.SpawnNamed(props, "machine-"+m.ID)
	if err != nil {
		panic(err) // two actors of one id: the registry is wrong
	}
	mem.pid = pid // of its end a parent hears without a watch, and with one twice
}

// respawn brings back a machine whose actor panicked, from the journal.
func (s *supervisor) respawn(ctx actor.Context, who *actor.PID) {
	id := strings.TrimPrefix(who.Id[strings.LastIndexByte(who.Id, '/')+1:], "machine-")
	mem := s.reg.ids[id]
	if mem == nil || s.ending {
		return
	}
	m, ok := s.Journal.Machine(id)
	if !ok {
		s.reg.forget(id)
		return
	}
	s.Log.Error("machine's actor ended; spawning it again from the journal", "machine", mem.name)
	s.reg.settle(id, m.Name)
	s.spawn(ctx, mem, m)
}

func (s *supervisor) cleaned(ctx actor.Context, id string) {
	if mem := s.reg.ids[id]; mem != nil {
		s.reg.forget(id)
		ctx.Poison(mem.pid)
	}
}

func (s *supervisor) reserve(ctx actor.Context, id string) {
	if mem := s.reg.ids[id]; mem != nil {
		ctx.Send(mem.pid, cidReserved{s.reg.reserve(id)})
	}
}

func (s *supervisor) find(name string) *member {
	if mem := s.reg.named(name); mem != nil {
		return mem
	}
	if mem := s.reg.ids[name]; mem != nil && !mem.left {
		return mem
	}
	return nil
}

// create takes a name and spawns the machine that will append created. A
// repeat of the same request finds the machine and is answered by it.
func (s *supervisor) create(ctx actor.Context, msg *wire.CreateMachine) {
	if s.goesDown() {
		s.reply(ctx, refused(goingDown(), nil))
		return
	}
	if s.early(ctx, msg, msg.GetName(), fsm.KindCreated) {
		return
	}
	id := s.NewID()
	mem := &member{id: id, name: msg.GetName()}
	if holder, ok := s.reg.join(mem); !ok {
		if !s.durably(holder, msg.GetName()) {
			ctx.Forward(holder.pid)
		} else if o, ok := s.knows(ctx, msg); ok { // since just now
			s.before(ctx, o, fsm.KindCreated)
		} else {
			s.reply(ctx, refused(taken(msg.GetName(), holder.name), nil))
		}
		return
	}
	s.spawn(ctx, mem, fsm.Machine{ID: id, Name: msg.GetName(), RunTag: runTag(id)})
	ctx.Forward(mem.pid)
}

// knows tells whether a request was carried out before.
func (s *supervisor) knows(ctx actor.Context, msg requester) (journal.Outcome, bool) {
	if msg.GetRequest().GetId() == "" {
		return journal.Outcome{}, false
	}
	return s.Journal.Request(principalOf(ctx), msg.GetRequest().GetId())
}

// early answers a request for a name that leads to a record of this kind, where no
// machine is needed for that: the name is none, or it was carried out before.
func (s *supervisor) early(ctx actor.Context, msg requester, name string, k fsm.Kind) bool {
	if err := checkName(name); err != nil {
		s.reply(ctx, refused(err, nil))
		return true
	}
	o, known := s.knows(ctx, msg)
	if known {
		s.before(ctx, o, k)
	}
	return known
}

// before answers a request that led to a record of this kind, if it did: by its
// machine, where that still is.
func (s *supervisor) before(ctx actor.Context, o journal.Outcome, k fsm.Kind) {
	if mem := s.reg.ids[o.Machine]; mem != nil && !mem.left {
		ctx.Forward(mem.pid)
		return
	}
	if o.Kind != k {
		s.reply(ctx, refused(refuse(wire.Code_CODE_CONFLICT, "arcbox journal --limit 20", "this request's id was used for something else (record %d, %s)", o.Seq, o.Kind), nil))
		return
	}
	s.reply(ctx, &wire.Done{Seq: o.Seq, Repeated: true})
}

// runTag is a short name for the directory of a machine's sockets: 48 random
// bits of its id.
func runTag(id string) string { return id[max(0, len(id)-12):] }

func goingDown() error {
	return refuse(wire.Code_CODE_UNAVAILABLE, "arcbox engine start", "the engine is going down")
}

// forward hands a command to its machine, the sender kept.
func (s *supervisor) forward(ctx actor.Context) {
	name := ctx.Message().(named).GetName()
	if mem := s.find(name); mem != nil {
		ctx.Forward(mem.pid)
		return
	}
	if r, ok := ctx.Message().(requester); ok {
		if o, known := s.knows(ctx, r); known {
			if mem := s.reg.ids[o.Machine]; mem != nil && !mem.left && s.wasNamed(o.Machine, name) {
				ctx.Forward(mem.pid) // it was renamed since
				return
			}
			s.reply(ctx, orRefused(s.doneBefore(commandOf(ctx).verb, o, clip(name, 80))))
			return
		}
	}
	s.reply(ctx, refused(s.missing(name), nil))
}

// doneBefore answers a request that was carried out before for a machine that
// is removed by now. Its stop and its removal came true by that; a start only
// if it was ready in between, and a pause if its health told of it.
func (s *shared) doneBefore(v verb, o journal.Outcome, name string) (any, error) {
	if sign, ok := signs[v]; ok {
		es, err := s.Journal.Query(journal.Query{Machine: o.Machine, After: o.Seq, Kinds: sign.kinds, Limit: 1})
		if err != nil {
			return nil, fmt.Errorf("what became of the request: %w", err)
		}
		if len(es) == 0 || !sign.is(es[0].Fact) {
			return nil, refuse(wire.Code_CODE_CONFLICT, "arcbox journal why "+name, "machine %q was removed before it %s", name, sign.what)
		}
	}
	return &wire.Done{Seq: o.Seq, Repeated: true}, nil
}

// sign is the first record of some kinds that shows that a request came true.
type sign struct {
	kinds []fsm.Kind
	is    func(fsm.Fact) bool
	what  string
}

var signs = map[verb]sign{verbStart: wasReady, verbRestart: wasReady, verbPause: wasPaused, verbResume: wentOn, verbSuspend: wasSaved}

var (
	wasReady = sign{[]fsm.Kind{fsm.KindReady}, func(fsm.Fact) bool { return true }, "was Running"}
	wasSaved = sign{[]fsm.Kind{fsm.KindExited, fsm.KindRepaired, fsm.KindStopAbandoned}, func(f fsm.Fact) bool {
		e, ok := f.(*fsm.ExitedFact)
		return ok && e.Cause == fsm.CauseSaved
	}, "was suspended"}
	turns     = []fsm.Kind{fsm.KindHealthChanged, fsm.KindPauseRequested, fsm.KindResumeRequested, fsm.KindExited, fsm.KindRepaired}
	wasPaused = sign{turns, func(f fsm.Fact) bool {
		h, ok := f.(*fsm.HealthChangedFact)
		return ok && h.Health.Level == fsm.HealthPaused
	}, "was paused"}
	wentOn = sign{turns, func(f fsm.Fact) bool {
		h, ok := f.(*fsm.HealthChangedFact)
		return ok && h.Health.Level != fsm.HealthPaused && h.Health.Level != fsm.HealthUnknown
	}, "went on"}
)

func (s *supervisor) inspect(ctx actor.Context, msg *wire.InspectMachine) {
	seen, ok := s.view.Named(msg.GetName())
	if !ok {
		seen, ok = s.view.ByID(msg.GetName())
	}
	if !ok {
		s.reply(ctx, refused(s.missing(msg.GetName()), nil))
		return
	}
	s.reply(ctx, machineOnWire(s.shared, seen, true))
}

// stopReasons says what a StopEngine's reason means to the engine and to its machines.
var stopReasons = map[string]struct{ engine, machines fsm.Reason }{
	"":                             {fsm.ReasonPerson, fsm.ReasonEngineStop},
	string(fsm.ReasonHostShutdown): {fsm.ReasonHostShutdown, fsm.ReasonHostShutdown},
}

// stopEngine ends the engine; the machines run on, unless they are to stop as
// well: all at once, each with its deadline.
func (s *supervisor) stopEngine(ctx actor.Context, msg *wire.StopEngine) {
	c := &command{msg: msg, from: ctx.Sender(), principal: principalOf(ctx), request: msg.GetRequest().GetId()}
	if s.stopping != nil {
		s.reply(ctx, refused(goingDown(), nil))
		return
	}
	why, ok := stopReasons[msg.GetReason()]
	if !ok {
		s.reply(ctx, refused(badInput("reason", "reason %q: host-shutdown, or nothing", clip(msg.GetReason(), 80)), nil))
		return
	}
	c.reason = why.engine
	s.stopping = &engineStop{c: c}
	if msg.GetMachines() {
		for _, id := range slices.Sorted(maps.Keys(s.reg.ids)) {
			mem := s.reg.ids[id]
			s.stopping.left++
			ctx.Send(mem.pid, bidden{&command{
				verb: verbStop, from: ctx.Self(), principal: c.principal, reason: why.machines,
				msg: &wire.StopMachine{TimeoutNanos: msg.GetTimeoutNanos()},
			}})
		}
	}
	if s.stopping.left == 0 {
		s.engineStopped()
	}
}

func (s *supervisor) stoppedOne() {
	if s.stopping == nil {
		return
	}
	if s.stopping.left--; s.stopping.left == 0 {
		s.engineStopped()
	}
}

func (s *supervisor) engineStopped() {
	c := s.stopping.c
	rec, err := s.Journal.Append(fsm.Record{
		Kind: fsm.KindEngineStopped, Principal: c.principal, Reason: c.reason, Request: c.request,
		Fact: &fsm.EngineStoppedFact{Machines: c.msg.(*wire.StopEngine).GetMachines()},
	})
	if err != nil {
		s.send(c.from, refused(err, nil))
		s.stopping = nil
		return
	}
	s.send(c.from, &wire.Done{Seq: rec[0].Seq})
	s.Stopped()
}

func (s *supervisor) reply(ctx actor.Context, msg any) {
	if ctx.Sender() != nil {
		ctx.Send(ctx.Sender(), msg)
	}
}
