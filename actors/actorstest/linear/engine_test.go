package linear

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/arcboxlabs/arcbox-engine/actors"
	"github.com/arcboxlabs/arcbox-engine/actors/client"
	"github.com/arcboxlabs/arcbox-engine/actors/endpoint"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/fsm"
	"github.com/arcboxlabs/arcbox-engine/journal"
)

var (
	began = time.Now()
	quiet = slog.New(slog.DiscardHandler)
)

func now() int64 { return int64(time.Since(began)) }

// quick is a clock that runs ten times as fast as the host's, so that pauses
// between two looks cost little. Nothing here depends on a deadline.
type quick struct{}

const haste = 10

// Now implements actors.Clock.
func (quick) Now() time.Time { return time.Now() }

// Moment implements actors.Clock.
func (quick) Moment() fsm.Moment {
	return fsm.Moment{Boot: "boot", Mono: haste * time.Since(began)}
}

// AfterFunc implements actors.Clock.
func (quick) AfterFunc(d time.Duration, f func()) func() bool {
	return time.AfterFunc(d/haste, f).Stop
}

// bench is one engine over its whole history: several lives on one disk.
type bench struct {
	t      *testing.T
	seed   uint64
	socket string
	world  *world
	disk   *vfs.MemFS
	dice   *rand.Rand // the bench's own
	killed sync.WaitGroup

	life    *life
	journal *journal.Journal
	engine  *actors.Engine
	gateway *endpoint.Gateway
	served  chan error
	fatal   chan error

	mu  sync.Mutex
	ops []Op
}

// dice are as many sources of randomness as are wanted, all from one seed.
func dice(seed, n uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, n)) }

func newBench(t *testing.T, seed uint64) *bench {
	t.Helper()
	dir, err := os.MkdirTemp("", "lin")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	b := &bench{
		t: t, seed: seed, socket: filepath.Join(dir, "engine.sock"), world: newWorld(dice(seed, 1000)),
		disk: vfs.NewCrashableMem(), dice: dice(seed, 1001), fatal: make(chan error, 8),
	}
	b.start()
	return b
}

// slow makes every sync take a little, so that a crash falls into one.
func slow(fs vfs.FS, dice *rand.Rand) vfs.FS {
	var mu sync.Mutex
	return errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind != errorfs.OpFileSyncData && op.Kind != errorfs.OpFileSync {
			return nil
		}
		mu.Lock()
		d := time.Duration(dice.Int64N(int64(2 * time.Millisecond)))
		mu.Unlock()
		<-time.After(d)
		return nil
	}))
}

func (b *bench) start() {
	b.t.Helper()
	var err error
	b.life = b.world.engine()
	b.journal, err = journal.Open("j", journal.Options{
		FS: slow(b.disk, dice(b.dice.Uint64(), 0)), FreeSpace: func(string) (uint64, error) { return 1 << 40, nil },
	})
	if err != nil {
		b.t.Fatalf("seed %d: %v", b.seed, err)
	}
	b.engine, err = actors.Start(actors.Options{
		Journal: b.journal, Clock: quick{}, Hosts: b.life, Guests: b.life, Dirs: b.life, Log: quiet, AllowSim: true,
		Limits: actors.Limits{CPUs: 4, Memory: 1 << 40}, LastCID: 3 + uint32(len(pool)), Launches: 2,
		Fatal: func(err error) { b.fatal <- err },
	})
	if err != nil {
		b.t.Fatalf("seed %d: %v", b.seed, err)
	}
	b.gateway = endpoint.New(endpoint.Options{System: b.engine.System(), Log: quiet})
	lis, err := endpoint.Listen(b.socket)
	if err != nil {
		b.t.Fatal(err)
	}
	served, gateway := make(chan error, 1), b.gateway
	b.served = served
	go func() { served <- gateway.Serve(lis) }()
}

// cut ends every connection at once.
func (b *bench) cut() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	b.gateway.Close(ctx)
	if err := <-b.served; err != nil {
		b.t.Errorf("seed %d: %v", b.seed, err)
	}
}

// crash kills the engine and starts another on what was synced: nothing that
// the old one does from now on reaches the world, its clients or the disk. What
// its clients had been told before is on the disk.
func (b *bench) crash() {
	o := Op{Client: crasher, Verb: Lost, Call: now()}
	close(b.life.stopped)
	b.cut()
	disk := b.disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: b.dice.IntN(2) * 50, RNG: dice(b.dice.Uint64(), 0)})
	b.life.kill()
	b.bury()
	b.disk = disk
	b.start()
	b.await("every machine was looked at", func(c *client.Client) bool {
		m, err := client.Call[*wire.Machines](b.t.Context(), c, &wire.ListMachines{})
		return err == nil && m.GetEngine().GetUnrepaired() == 0
	})
	o.Return = now()
	b.note(o)
}

// bury ends what is left of a killed engine, behind the scenes.
func (b *bench) bury() {
	engine, j := b.engine, b.journal
	b.killed.Go(func() {
		if err := engine.Close(); err != nil {
			b.t.Errorf("seed %d: %v", b.seed, err)
		}
		if err := j.Close(); err != nil {
			b.t.Errorf("seed %d: %v", b.seed, err)
		}
	})
}

func (b *bench) note(o Op) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ops = append(b.ops, o)
}

func (b *bench) noted() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.ops)
}

// await asks until a condition holds.
func (b *bench) await(what string, ok func(*client.Client) bool) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 20*time.Second)
	defer cancel()
	c := b.client(crasher)
	defer c.Close()
	for {
		err := c.connect(ctx)
		if ctx.Err() != nil {
			b.t.Fatalf("seed %d: not within %s: %s: %v\n%s", b.seed, 20*time.Second, what, err, b.tell(c.conn))
		}
		if ok(c.conn) {
			return
		}
		<-time.After(5 * time.Millisecond)
	}
}

// tell is what the engine has written down, and how its machines are.
func (b *bench) tell(c *client.Client) string {
	records, err := Records(b.t.Context(), c)
	out := fmt.Sprintln("records:", err)
	for _, r := range records {
		out += fmt.Sprintf("%d %s %s %s cid %d by %s: %s %s\n", r.Seq, r.Name, tail(r.Machine), r.Kind, r.Cid, r.Principal, r.Reason, r.FactJson)
	}
	for _, name := range pool {
		m, err := client.Call[*wire.Machine](b.t.Context(), c, &wire.InspectMachine{Name: name})
		out += fmt.Sprintln(name, m, err)
	}
	return out
}

// rest waits until nothing is on its way any more, and tells what is there.
func (b *bench) rest() {
	last, same := uint64(0), 0
	b.await("at rest", func(c *client.Client) bool {
		m, err := client.Call[*wire.Machines](b.t.Context(), c, &wire.ListMachines{})
		if err != nil {
			return false
		}
		still := m.GetEngine().GetSeq() == last && m.GetEngine().GetUnrepaired() == 0
		for _, machine := range m.GetMachines() {
			still = still && machine.GetState() != starting && machine.GetState() != stopping
		}
		last, same = m.GetEngine().GetSeq(), same+1
		if !still {
			same = 0
		}
		return same > 8
	})
	c := b.client(crasher)
	defer c.Close()
	o := Op{Client: crasher, Verb: List, Outcome: Unknown, Call: now()}
	if err := c.ask(b.t.Context(), &o, &wire.ListMachines{}); err != nil {
		b.t.Errorf("seed %d: list at the end: %v", b.seed, err)
	}
	o.Return = now()
	b.note(o)
}

const (
	clients = 8
	crasher = clients // its number among the clients
	each    = 14      // commands of each client
)

var pool = []string{"a", "b", "c"}

func (b *bench) client(n int) *Client {
	return &Client{
		N: n, Socket: b.socket, Dice: dice(b.seed, uint64(n)), Now: now, Note: b.note, Wait: 15 * time.Second,
		Pick: func(d *rand.Rand) string { return pool[d.IntN(len(pool))] },
		Spec: spec,
	}
}

// spec is now and then one that is refused.
func spec(*rand.Rand) *wire.Spec { return &wire.Spec{Cpus: 1, Memory: 128 << 20, Backend: "sim"} }

// run makes one history, with so many crashes in its course.
func (b *bench) run(crashes int) {
	var all sync.WaitGroup
	for n := range clients {
		all.Go(func() { b.client(n).Run(b.t.Context(), each) })
	}
	for i := range crashes {
		due := (i+1)*clients*each/(crashes+1) - b.dice.IntN(clients)
		for b.noted() < due {
			<-time.After(time.Millisecond)
		}
		b.crash()
	}
	all.Wait()
	b.rest()
}

// verdict checks the history, the journal and the world, and tells how many
// names and CIDs could not be checked in time.
func (b *bench) verdict() (undecided int) {
	h := History{Ops: b.ops}
	dir, err := os.MkdirTemp("", "linear-failed")
	if err != nil {
		b.t.Fatal(err)
	}
	if err := h.Check(dir); err != nil {
		b.t.Errorf("seed %d: %v", b.seed, err)
	} else {
		_ = os.Remove(dir)
	}
	c := b.client(crasher)
	defer c.Close()
	if err := c.connect(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
	records, err := Records(b.t.Context(), c.conn)
	if err != nil {
		b.t.Fatalf("seed %d: %v", b.seed, err)
	}
	if err := Walk(records); err != nil {
		b.t.Errorf("seed %d: %v", b.seed, err)
	}
	for _, err := range b.world.faults {
		b.t.Errorf("seed %d: %v", b.seed, err)
	}
	select {
	case err := <-b.fatal:
		b.t.Errorf("seed %d: the engine ended: %v", b.seed, err)
	default:
	}
	return len(h.Undecided)
}

func (b *bench) end() {
	close(b.life.stopped)
	b.cut()
	b.life.kill()
	b.bury()
	b.killed.Wait()
}

// TestLinearizable: many clients, over the real endpoint, of an engine that is
// killed in the middle, each history checked against the model. A failure names
// the seed; ARCBOX_LINEAR_SEED repeats it, as far as the scheduler allows.
func TestLinearizable(t *testing.T) {
	const histories = 8
	first := uint64(time.Now().UnixNano())
	if s := os.Getenv("ARCBOX_LINEAR_SEED"); s != "" {
		if _, err := fmt.Sscan(s, &first); err != nil {
			t.Fatal(err)
		}
	}
	commands, answered, crashes, resent, undecided := 0, 0, 0, 0, 0
	for i := range uint64(histories) {
		b := newBench(t, first+i)
		b.run(int(i % 4))
		undecided += b.verdict()
		b.end()
		for _, o := range b.ops {
			switch {
			case o.Verb == Lost:
				crashes++
				continue
			case o.answered():
				answered++
			}
			commands++
			if o.Tries > 1 || o.Verb == Repeat {
				resent++
			}
		}
		if t.Failed() {
			break
		}
	}
	t.Logf("histories %d, clients of each %d, commands %d, of these %d answered and %d sent again, engines killed %d, names and CIDs that took too long to check %d",
		histories, clients, commands, answered, resent, crashes, undecided)
	if undecided > histories/2 {
		t.Error("too many of them")
	}
}
