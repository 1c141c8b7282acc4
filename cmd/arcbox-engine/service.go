package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/arcboxlabs/arcbox-engine/actors"
	"github.com/arcboxlabs/arcbox-engine/actors/endpoint"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/cmd/internal/home"
)

// sockets are those that the service manager listens at for this engine, by path.
type sockets map[string]net.Listener

// handedDown takes over what the service manager handed down; nothing where
// there is none.
func handedDown() (sockets, error) {
	listeners, err := activation.Listeners()
	if err != nil {
		return nil, fmt.Errorf("sockets of the service manager: %w", err)
	}
	return byPath(listeners)
}

func byPath(listeners []net.Listener) (sockets, error) {
	s := sockets{}
	for _, l := range listeners {
		if l == nil || l.Addr().Network() != "unix" {
			return nil, notOurs("one that is no unix socket")
		}
		s[l.Addr().String()] = l
	}
	return s, nil
}

// listen is the socket at path: the service manager's, else one of our own.
func (s sockets) listen(path string) (net.Listener, error) {
	lis, ok := s[path]
	if !ok {
		return endpoint.Listen(path)
	}
	delete(s, path)
	info, err := os.Lstat(path)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("socket of the service manager: %w", err), lis.Close())
	}
	if mode := info.Mode(); mode.Type() != fs.ModeSocket || mode.Perm()&0o077 != 0 {
		return nil, errors.Join(notOurs(fmt.Sprintf("%s with mode %v, and nobody but its owner may reach it (SocketMode=0600)", path, mode)), lis.Close())
	}
	return lis, nil
}

// rest refuses what was handed down and is nobody's here.
func (s sockets) rest(h home.Home) error {
	if len(s) == 0 {
		return nil
	}
	return notOurs(fmt.Sprintf("%s, and this engine's are %s and %s (set %s in the service as for the socket)",
		strings.Join(slices.Sorted(maps.Keys(s)), " and "), h.Socket(), h.Tickets(), home.Var))
}

func notOurs(what string) error {
	return &actors.Refusal{Code: wire.Code_CODE_BAD_INPUT, Field: "socket", Hint: "arcbox engine install writes units that fit",
		Message: "the service manager handed down " + what}
}

// notify tells the service manager a state; without one it does nothing.
func notify(log *slog.Logger, state ...string) {
	if _, err := daemon.SdNotify(false, strings.Join(state, "\n")); err != nil {
		log.Warn("the service manager was not told", "state", state[0], "err", err)
	}
}

// watched tells the service manager that the engine lives, for as long as it
// answers: an engine that hangs is ended and started anew, and its machines run
// on. Without a watchdog it returns at once.
func watched(ctx context.Context, log *slog.Logger, alive func(context.Context) error) {
	limit, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("the service manager's watchdog", "err", err)
	}
	if err != nil || limit <= 0 {
		return
	}
	beats(ctx, limit/2, func(ctx context.Context) {
		if err := alive(ctx); err != nil {
			log.Error("the engine does not answer itself", "err", err)
			return
		}
		notify(log, daemon.SdNotifyWatchdog)
	})
}

// beats calls beat now and then until ctx is over. Each has until the next.
func beats(ctx context.Context, every time.Duration, beat func(context.Context)) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for ctx.Err() == nil {
		within, cancel := context.WithTimeout(ctx, every)
		beat(within)
		cancel()
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// answering asks the supervisor for the status that clients see.
func answering(system *actor.ActorSystem) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := askSupervisor[*wire.EngineInfo](ctx, system, &wire.EngineStatus{})
		return err
	}
}

// askSupervisor asks from within this process. It has an actor of its own for
// the answer: the library's futures race where the answer meets the deadline.
func askSupervisor[R any](ctx context.Context, system *actor.ActorSystem, msg any) (R, error) {
	answers := make(chan any, 1)
	me := system.Root.Spawn(actor.PropsFromFunc(func(c actor.Context) {
		switch m := c.Message().(type) {
		case actor.SystemMessage, actor.AutoReceiveMessage, *actor.Started:
		default:
			select {
			case answers <- m:
			default: // it was answered before
			}
		}
	}))
	defer system.Root.Stop(me)
	system.Root.RequestWithCustomSender(system.NewLocalPID(wire.Supervisor), msg, me)
	var none R
	select {
	case <-ctx.Done():
		return none, fmt.Errorf("the supervisor has not answered %T: %w", msg, context.Cause(ctx))
	case answer := <-answers:
		switch a := answer.(type) {
		case R:
			return a, nil
		case *wire.Refused:
			return none, &actors.Refusal{Code: a.GetCode(), Message: a.GetMessage(), Hint: a.GetHint()}
		}
		return none, fmt.Errorf("the supervisor answers %T to %T", answer, msg)
	}
}
