package actorstest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	cmap "github.com/orcaman/concurrent-map"
	"google.golang.org/protobuf/proto"

	"github.com/arcboxlabs/arcbox-engine/actors"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/journal"
)

// As in the engine: protoactor's registry of processes is cut up enough without.
func init() { cmap.SHARD_COUNT = 1 }

// Engine is one engine on a scripted host with a crashable disk. What outlives
// it (disk, world, clock) is taken over by [Engine.Crash].
type Engine struct {
	World *World
	Clock *Clock

	disk    *vfs.MemFS
	journal *journal.Journal
	engine  *actors.Engine
	ids     *atomic.Uint64

	each  Step        // before each thing that happens while it starts
	marks uint64      // records from one checkpoint of the next engine's journal to the next; 0 = as in real life
	last  uint32      // where CIDs begin anew; 0 = as in real life
	Full  atomic.Bool // the disk has no room: what grows it is refused
	Dead  atomic.Bool // every write fails
	fatal atomic.Pointer[error]

	mu      sync.Mutex
	acked   uint64 // the last record of which anybody was told
	asks    int
	answers map[string]proto.Message // by the name of the ask
	open    stream                   // of the last ticket
	stopped atomic.Bool
}

// journalDir is where the journal lies on the disk of the scripted host.
const journalDir = "/journal"

// New starts the first engine of a host. It has to be called in a synctest
// bubble, like everything here.
func New(each Step) (*Engine, error) {
	return first(each, 0)
}

// first starts it with so many CIDs that they begin anew behind the last.
func first(each Step, last uint32) (*Engine, error) {
	c := NewClock()
	e := &Engine{World: NewWorld(c), Clock: c, disk: vfs.NewCrashableMem(), ids: &atomic.Uint64{}, each: each, last: last}
	return e, e.start()
}

// start opens the journal and starts the actors, with nothing held up until
// the engine serves.
func (e *Engine) start() (err error) {
	e.answers = map[string]proto.Message{}
	e.World.Gates.Open()
	e.journal, err = journal.Open(journalDir, journal.Options{
		FS: errorfs.Wrap(e.disk, errorfs.InjectorFunc(e.diskOp)), Now: e.Clock.Now, Ballast: -1, Checkpoint: e.marks,
		FreeSpace: func(string) (uint64, error) {
			if e.Full.Load() {
				return 1 << 20, nil
			}
			return 1 << 40, nil
		},
		Fatal: func(err error) { e.die(err); runtime.Goexit() },
	})
	if err != nil {
		return fmt.Errorf("open journal: %w", err)
	}
	e.World.Gates.Shut()
	if e.engine, err = e.startActors(); err == nil {
		e.World.networkNews(e.engine.NetworkSaid)
	}
	return err
}

func (e *Engine) startActors() (*actors.Engine, error) {
	started := make(chan struct{})
	var engine *actors.Engine
	var err error
	go func() {
		defer close(started)
		engine, err = actors.Start(actors.Options{
			Journal: e.journal, Clock: e.Clock, Hosts: e.World, Guests: e.World, Dirs: e.World, Owners: e.World, Provisions: e.World, Networks: e.World, Disks: e.World,
			Tickets:   e.issue,
			Booted:    e.World.Booted,
			Grow:      e.World.Grow,
			Hold:      e.World.Hold,
			Save:      e.World.Save,
			CopyDisk:  e.World.CopyDisk,
			Shares:    e.World.Shares,
			HoldImage: func(string) (func(), error) { return func() {}, nil },
			Limits:    actors.Limits{CPUs: 8, Memory: 1 << 40},
			AllowSim:  true, Version: "test", Home: "/home", Launches: 64, LastCID: e.last, NewID: e.newID,
			Stopped: func() { e.stopped.Store(true) }, Fatal: e.die, Log: slog.New(slog.DiscardHandler),
		})
	}()
	for range 100 { // engine-started is a record like any other
		synctest.Wait()
		select {
		case <-started:
			return engine, err
		default:
		}
		for _, gate := range e.World.Gates.Held() {
			if strings.HasPrefix(gate.What, "disk") || strings.HasPrefix(gate.What, "list") || strings.HasPrefix(gate.What, stranger) {
				if e.each != nil {
					e.each(e, gate)
				}
				e.World.Gates.Pass(gate)
			}
		}
	}
	return nil, errors.New("the engine does not start")
}

// stranger begins the ids of all machines: by them alone those are called that
// the journal does not know.
const stranger = "00000000-0000-7000-8000-"

// newID gives out ids that are the same in every run.
func (e *Engine) newID() string {
	n := e.ids.Add(1)
	return fmt.Sprintf(stranger+"%012x", n)
}

// die is what a real engine does with os.Exit.
func (e *Engine) die(err error) { e.fatal.CompareAndSwap(nil, &err) }

// Died is why the engine ended itself, nil while it did not.
func (e *Engine) Died() error {
	if err := e.fatal.Load(); err != nil {
		return *err
	}
	return nil
}

// diskOp holds up what the journal writes: before each write and each sync,
// and before the head file is written, which is the moment between a sync and
// the first that anybody hears of it.
func (e *Engine) diskOp(op errorfs.Op) error {
	var what string
	switch op.Kind {
	case errorfs.OpFileWrite:
		what = "disk write"
	case errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo:
		what = "disk sync"
	case errorfs.OpFileWriteAt:
		what = "disk synced"
	default:
		return nil
	}
	if !strings.HasSuffix(op.Path, ".log") && !strings.HasSuffix(op.Path, "/head") {
		return nil // Pebble's own business, under its own locks
	}
	_ = e.World.Gates.Wait(context.Background(), what)
	if e.Dead.Load() {
		return syscall.ENOSPC
	}
	return nil
}

// Step is called for each thing that the engine is about to do.
type Step func(*Engine, *Gate)

// settle lets things happen, one after the other, until nothing more happens
// by itself.
func (e *Engine) settle(each Step) {
	for {
		synctest.Wait()
		held := e.World.Gates.Held()
		if len(held) == 0 {
			return
		}
		if each != nil {
			each(e, held[0])
		}
		e.World.Gates.Pass(held[0])
	}
}

// Close ends the engine in an orderly way. Nothing of the world changes by it.
func (e *Engine) Close() error {
	// A second of the bubble: until they fire, timers of libraries hold on to the
	// whole engine, and in a walk of hours of the bubble's time nothing else ends them.
	defer time.Sleep(time.Second)
	e.World.Gates.Open()
	var err error
	if e.engine != nil {
		err = e.engine.Close()
	}
	synctest.Wait()
	if e.journal == nil {
		return err
	}
	if closeErr := e.journal.Close(); e.Died() == nil {
		err = errors.Join(err, closeErr)
	}
	synctest.Wait()
	return err
}

// Aftermath is what the next engine finds.
type Aftermath struct {
	Unsynced int    // percent of what was not synced that is on the disk all the same
	Seed     uint64 // which of it
	Reboot   bool   // the host went down: no VM lives, the boot id is another one
	Machine  string // what happened to this machine's VM meanwhile, "" = nothing
	What     string // a name of Happens
}

// Crash returns the next engine, which finds what this one leaves when it is
// killed right now. This one goes on in a world of its own, so that it can be
// killed again a little later.
func (e *Engine) Crash(a Aftermath, each Step) (*Engine, error) {
	next := e.after(a, each)
	return next, next.start()
}

// after is the next engine, not yet started.
func (e *Engine) after(a Aftermath, each Step) *Engine {
	c := e.Clock.clone(a.Reboot)
	next := &Engine{World: e.World.clone(c), Clock: c, ids: &atomic.Uint64{}, each: each, last: e.last, marks: e.marks}
	next.ids.Store(e.ids.Load() + 1000)
	next.Full.Store(e.Full.Load())
	next.disk = e.disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: a.Unsynced, RNG: rand.New(rand.NewPCG(a.Seed, 1))})
	if a.Reboot {
		next.World.reboot()
	}
	if a.What != "" {
		next.World.Happen(a.Machine, a.What)
	}
	return next
}

// reboot: every process of the host is gone.
func (w *World) reboot() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.net.holds)
	for _, p := range w.places {
		w.end(p, nil)
	}
}

// Ask sends a request as somebody. The answer is there when [Engine.Answer]
// has one.
func (e *Engine) Ask(who string, msg proto.Message) (name string) {
	e.mu.Lock()
	e.asks++
	name = fmt.Sprintf("client-%d", e.asks)
	e.mu.Unlock()
	root := e.engine.System().Root
	pid, err := root.SpawnNamed(actor.PropsFromFunc(func(ctx actor.Context) {
		if msg, ok := ctx.Message().(proto.Message); ok && !isSystem(msg) {
			e.heard(name, msg)
		}
	}), name)
	if err != nil {
		panic(err)
	}
	to := e.engine.System().NewLocalPID(wire.Supervisor)
	if history(msg) {
		to.Id = wire.Journal
	}
	root.Send(to, &actor.MessageEnvelope{
		Header: map[string]string{"principal": who}, Message: msg, Sender: pid,
	})
	return name
}

// isSystem tells protoactor's own messages, some of which are protobufs too.
func isSystem(msg proto.Message) bool {
	return msg.ProtoReflect().Descriptor().ParentFile().Package() != "arcbox.engine.v1"
}

func history(msg proto.Message) bool {
	switch msg.(type) {
	case *wire.WhyMachine, *wire.QueryJournal, *wire.VerifyJournal, *wire.Follow, *wire.MachinesAt, *wire.DrawTimeline, *wire.CountJournal, *wire.BackupJournal:
		return true
	}
	return false
}

func (e *Engine) heard(name string, msg proto.Message) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.answers[name] = msg
	if d, ok := msg.(*wire.Done); ok {
		e.acked = max(e.acked, d.GetSeq())
	}
}

// Answer is what somebody heard, nil where nothing yet.
func (e *Engine) Answer(name string) proto.Message {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.answers[name]
}

// Acked is the last record of which anybody was told.
func (e *Engine) Acked() uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.acked
}
