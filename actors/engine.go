package actors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/fsm"
)

// Engine is the actor system of one engine, running.
type Engine struct {
	s      *shared
	cancel context.CancelFunc
	sup    *actor.PID
	hist   *actor.PID
}

// Start appends engine-started, spawns the actors and returns. Machines are
// listed at once; what is really there is looked at behind that.
func Start(o Options) (*Engine, error) {
	o.fill()
	ctx, cancel := context.WithCancel(context.Background())
	s := &shared{
		Options: o, view: NewView(), life: ctx, started: o.Clock.Now(), boot: o.Clock.Moment().Boot,
		leases: newLeases(), launches: make(chan struct{}, o.Launches), looks: make(chan struct{}, 16),
		reads: make(chan struct{}, 2),
	}
	s.sys = actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger {
		return o.Log.With("from", "protoactor")
	}))
	e := &Engine{s: s, cancel: cancel}
	if err := e.start(); err != nil {
		cancel()
		return nil, err
	}
	return e, nil
}

func (e *Engine) start() error {
	s := e.s
	recs, err := s.Journal.Append(fsm.Record{
		Kind: fsm.KindEngineStarted, Principal: "engine", Fact: &fsm.EngineStartedFact{Version: s.Version, Boot: s.boot},
	})
	if err != nil {
		return fmt.Errorf("start engine: %w", err)
	}
	s.since = recs[0].Seq
	machines := s.Journal.Machines()
	for _, m := range machines {
		s.view.publish(&Seen{Machine: m, Unseen: m.State.Live() || m.Dir || m.Damaged})
		s.leases.hold(m)
		s.wantNetwork(m) // before the network process is asked what it has
	}
	left := s.leftovers()
	root := s.sys.Root
	// A machine's actor that panics is stopped, and spawned again from the
	// journal by the supervisor, which hears of its end.
	stop := actor.NewOneForOneStrategy(0, 0, func(any) actor.Directive { return actor.StopDirective })
	props := actor.PropsFromProducer(func() actor.Actor {
		return &supervisor{shared: s, reg: newRegistry(s.LastCID), boot: machines, left: left}
	}, actor.WithSupervisor(stop))
	if e.sup, err = root.SpawnNamed(props, wire.Supervisor); err != nil {
		return fmt.Errorf("spawn supervisor: %w", err)
	}
	e.hist, err = root.SpawnNamed(actor.PropsFromProducer(func() actor.Actor {
		return &historian{shared: s, followers: map[string]*follower{}}
	}), wire.Journal)
	if err != nil {
		return fmt.Errorf("spawn journal's actor: %w", err)
	}
	return nil
}

// System is the actor system, for the gateway.
func (e *Engine) System() *actor.ActorSystem { return e.s.sys }

// View is what the machines look like.
func (e *Engine) View() *View { return e.s.view }

// Close stops the actors. The machines' VMs run on.
func (e *Engine) Close() error {
	var errs []error
	for _, pid := range []*actor.PID{e.sup, e.hist} {
		if pid == nil {
			continue
		}
		errs = append(errs, e.s.sys.Root.PoisonFuture(pid).Wait())
	}
	e.cancel()
	e.s.sys.Shutdown()
	return errors.Join(errs...)
}
