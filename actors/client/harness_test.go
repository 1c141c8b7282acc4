package client_test

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"go.uber.org/goleak"

	"github.com/arcboxlabs/arcbox-engine/actors/client"
	"github.com/arcboxlabs/arcbox-engine/actors/endpoint"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 10 * time.Second

// history outlives engines, as a journal does.
type history struct {
	mu      sync.Mutex
	last    uint64
	changed chan struct{}
}

func newHistory(n uint64) *history { return &history{last: n, changed: make(chan struct{})} }

func (h *history) grow(n uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last += n
	close(h.changed)
	h.changed = make(chan struct{})
}

func (h *history) now() (uint64, <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.last, h.changed
}

// scripted is an engine: the actors supervisor and journal, in a real actor
// system behind a real gateway.
type scripted struct {
	t       testing.TB
	system  *actor.ActorSystem
	gateway *endpoint.Gateway
	served  chan error
	history *history
	onAsk   func(ctx actor.Context)

	actors  sync.WaitGroup
	follows map[string]*cursor // the journal's
	breach  chan string
	most    uint64 // records sent in one message
	once    sync.Once
}

type cursor struct {
	pid    *actor.PID
	after  uint64
	credit uint64
}

type grown struct{}

func startEngine(t testing.TB, socket string, h *history, onAsk func(ctx actor.Context)) *scripted {
	t.Helper()
	e := &scripted{
		t: t, history: h, onAsk: onAsk, follows: map[string]*cursor{}, served: make(chan error, 1), breach: make(chan string, 16), most: 16,
		system: actor.NewActorSystem(actor.WithDeadLetterThrottleInterval(time.Millisecond),
			actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return slog.New(slog.DiscardHandler) })),
	}
	e.gateway = endpoint.New(endpoint.Options{System: e.system, Log: slog.New(slog.DiscardHandler)})
	for id, receive := range map[string]actor.ReceiveFunc{wire.Supervisor: e.supervisor, wire.Journal: e.journal} {
		e.actors.Add(1)
		if _, err := e.system.Root.SpawnNamed(actor.PropsFromFunc(receive), id); err != nil {
			t.Fatal(err)
		}
	}
	lis, err := endpoint.Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	go func() { e.served <- e.gateway.Serve(lis) }()
	t.Cleanup(e.stop)
	return e
}

// stop ends the engine; a second time it does nothing.
func (e *scripted) stop() {
	e.once.Do(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // at once: this is a crash, as far as clients can tell
		e.gateway.Close(ctx)
		if err := <-e.served; err != nil {
			e.t.Errorf("Serve: %v", err)
		}
		for _, id := range []string{wire.Supervisor, wire.Journal} {
			e.system.Root.Stop(e.system.NewLocalPID(id))
		}
		e.actors.Wait()
		e.system.Shutdown()
	})
}

func (e *scripted) supervisor(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Stopped:
		e.actors.Done()
	case *wire.ListMachines:
		ctx.Respond(&wire.Machines{Version: 7})
	case *wire.InspectMachine:
		ctx.Respond(&wire.Refused{
			Code: wire.Code_CODE_NOT_FOUND, Message: "no machine " + m.Name, Hint: "arcbox list", Field: "name", Machine: m.Name, State: "Running",
		})
	default:
		if e.onAsk != nil {
			e.onAsk(ctx)
		}
	}
}

// journal sends records as far as credit goes, and never more.
func (e *scripted) journal(ctx actor.Context) {
	key := ctx.Sender().GetAddress() + "/" + ctx.Sender().GetId()
	switch m := ctx.Message().(type) {
	case *actor.Stopped:
		e.actors.Done()
	case *wire.Follow:
		if m.GetQuery().GetMachine() == "nobody" {
			ctx.Respond(&wire.Refused{Code: wire.Code_CODE_NOT_FOUND, Message: "no machine nobody"})
			return
		}
		last, changed := e.history.now()
		e.follows[key] = &cursor{ctx.Sender(), m.GetQuery().GetAfter(), m.Credit}
		ctx.Respond(&wire.Followed{Last: last}) // far ahead of what was sent
		e.feed(ctx)
		e.await(ctx, changed)
	case *wire.Grant:
		if f := e.follows[key]; f != nil {
			f.credit += m.Credit
			if f.credit > 256 {
				e.breach <- "more credit than was used"
			}
			e.feed(ctx)
		}
	case *wire.Unfollow:
		delete(e.follows, key)
	case *wire.ClientGone:
		for k, f := range e.follows {
			if f.pid.Address == m.Address {
				delete(e.follows, k)
			}
		}
	case grown:
		_, changed := e.history.now()
		e.feed(ctx)
		e.await(ctx, changed)
	}
}

// await posts grown; the goroutine ends with the system.
func (e *scripted) await(ctx actor.Context, changed <-chan struct{}) {
	self, root := ctx.Self(), e.system.Root
	gone := make(chan struct{})
	e.t.Cleanup(func() { close(gone) })
	go func() {
		select {
		case <-changed:
			root.Send(self, grown{})
		case <-gone:
		}
	}()
}

func (e *scripted) feed(ctx actor.Context) {
	last, _ := e.history.now()
	for _, f := range e.follows {
		for f.credit > 0 && f.after < last {
			out := &wire.Followed{Last: last}
			for n := min(f.credit, e.most, last-f.after); n > 0; n-- {
				f.after++
				f.credit--
				out.Records = append(out.Records, &wire.Record{Seq: f.after})
			}
			ctx.Send(f.pid, out)
		}
	}
}

func socketOf(t testing.TB) string { return filepath.Join(t.TempDir(), "run", "engine.sock") }

func dial(t testing.TB, socket string) *client.Client {
	t.Helper()
	c, err := client.Dial(t.Context(), client.Socket(socket))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}
