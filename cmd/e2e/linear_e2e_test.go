//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/arcboxlabs/arcbox-engine/actors/actorstest/linear"
	"github.com/arcboxlabs/arcbox-engine/actors/client"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

// How a history is made: processes that each hold a connection of their own,
// and some that type commands, a process each; all on three names.
const (
	linearTime     = 30 * time.Second
	linearLeast    = 3 // histories, however slow the host is
	linearPlayers  = 5
	linearTypists  = 2
	linearCrasher  = linearPlayers + linearTypists // its number among the clients
	linearCommands = 14                            // of each player
	linearTyped    = 8                             // of each typist
	linearWait     = 60 * time.Second              // for an answer
)

// monotonic is one clock for all processes of this host.
func monotonic() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic(err)
	}
	return ts.Nano()
}

// histories is one engine and the clients' processes.
type histories struct {
	*bed
	dice    *rand.Rand
	players []*player
	kills   int

	undecided int // names and CIDs that took too long to check

	mu   sync.Mutex
	ops  []linear.Op // of the history that is being made
	busy chan struct{}
}

// TestLinearizable: many processes at one engine, which is killed with SIGKILL
// in the midst of each history and started again, its machines running on. All
// answers of all processes must fit one order: porcupine checks each name and
// each CID, and the whole journal is read at the end. ARCBOX_SEED=n begins with
// that history, as far as the scheduler allows.
func TestLinearizable(t *testing.T) {
	seed, soak := plannedRun(t)
	h := &histories{bed: newBed(t), busy: make(chan struct{}, 1)}
	h.quiet = true
	h.ok("engine", "start", "--allow-sim")
	for n := range linearPlayers {
		h.players = append(h.players, h.startPlayer(n))
	}
	began, made := time.Now(), 0
	counts := map[string]int{}
	for limit := max(linearTime, soak/10); made < linearLeast || time.Since(began) < limit; seed++ {
		made++
		h.one(seed, counts)
		if t.Failed() {
			t.Fatalf("ARCBOX_SEED=%d begins with this history", seed)
		}
	}
	h.walkJournal()
	report(t, "histories %d, processes with a connection %d and with a command each %d, commands %d, of these %d answered, %d refused, %d without an answer and %d sent again, engines killed %d, names and CIDs that took too long to check %d, in %s",
		made, linearPlayers, linearTypists, counts["all"], counts[linear.Done], counts[linear.Refused], counts[linear.Unknown], counts["again"],
		h.kills, h.undecided, time.Since(began).Round(time.Second))
	if h.undecided > made/2 {
		t.Error("too many of them")
	}
}

// one makes a history on fresh names, checks it, and removes what it left.
func (h *histories) one(seed uint64, counts map[string]int) {
	h.t.Helper()
	h.dice, h.ops = rand.New(rand.NewPCG(seed, 0)), nil
	var names []string
	for _, n := range []string{"a", "b", "c"} {
		names = append(names, fmt.Sprintf("%s%d", n, seed))
	}
	var all sync.WaitGroup
	for _, p := range h.players {
		all.Go(func() { p.play(part{Seed: seed, Names: names, Commands: linearCommands}) })
	}
	for n := range linearTypists {
		typist := &typist{bed: h.bed, n: linearPlayers + n, dice: rand.New(rand.NewPCG(seed, uint64(100+n))), names: names, note: h.note}
		all.Go(func() { typist.run(linearTyped) })
	}
	planned := linearPlayers*linearCommands + linearTypists*linearTyped
	ended := make(chan struct{})
	go func() {
		all.Wait()
		close(ended)
	}()
	h.after(planned/3+h.dice.IntN(planned/3), ended)
	h.crash()
	<-ended
	h.rest(names)
	h.check(seed)
	for _, o := range h.ops {
		if o.Verb == linear.Lost {
			continue
		}
		counts["all"]++
		counts[o.Outcome]++
		if o.Tries > 1 && o.Client < linearPlayers || o.Verb == linear.Repeat {
			counts["again"]++
		}
	}
	for _, name := range names {
		h.run("rm", "-f", name) // some are gone
	}
}

// note takes what a client did.
func (h *histories) note(o linear.Op) {
	h.mu.Lock()
	h.ops = append(h.ops, o)
	h.mu.Unlock()
	select {
	case h.busy <- struct{}{}:
	default:
	}
}

// after waits until so many commands are over, or all clients are.
func (h *histories) after(commands int, ended <-chan struct{}) {
	for {
		h.mu.Lock()
		n := len(h.ops)
		h.mu.Unlock()
		if n >= commands {
			return
		}
		select {
		case <-h.busy:
		case <-ended:
			return
		}
	}
}

// crash kills the engine and starts another. A machine whose VM host was not
// spawned yet is lost by that.
func (h *histories) crash() {
	h.t.Helper()
	pid := h.engine().PID
	o := linear.Op{Client: linearCrasher, Verb: linear.Lost, Call: monotonic()}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		h.t.Fatal(err)
	}
	h.ok("engine", "start", "--allow-sim")
	h.eventually("every machine was looked at", linearWait, func() bool { return h.engine().Unrepaired == 0 })
	o.Return = monotonic()
	h.kills++
	h.note(o)
}

// rest waits until nothing is on its way any more, and notes what is there.
func (h *histories) rest(names []string) {
	h.t.Helper()
	last, same := uint64(0), 0
	h.eventually("at rest", linearWait, func() bool {
		still := true
		for _, m := range h.list() {
			still = still && m.State != "Starting" && m.State != "Stopping"
		}
		seq := h.engine().Seq
		if same++; !still || seq != last {
			same = 0
		}
		last = seq
		return same > 2
	})
	c := newPlayer(linearCrasher, h.socket(), part{Seed: h.dice.Uint64(), Names: names}, h.note)
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), linearWait)
	defer cancel()
	for ctx.Err() == nil && c.Do(ctx, linear.List, "").Outcome != linear.Done {
	}
}

func (b *bed) socket() string { return filepath.Join(b.home, "run", "engine.sock") }

// check hands the history to porcupine.
func (h *histories) check(seed uint64) {
	h.t.Helper()
	dir, err := os.MkdirTemp("", "linear-failed")
	if err != nil {
		h.t.Fatal(err)
	}
	history := linear.History{Ops: h.ops}
	if err := history.Check(dir); err != nil {
		h.t.Errorf("seed %d: %v", seed, err)
		return
	}
	h.undecided += len(history.Undecided)
	_ = os.Remove(dir)
}

// walkJournal reads the whole journal in its order.
func (h *histories) walkJournal() {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), linearWait)
	defer cancel()
	c, err := client.Dial(ctx, client.Socket(h.socket()))
	if err != nil {
		h.t.Fatal(err)
	}
	defer c.Close()
	records, err := linear.Records(ctx, c)
	if err != nil {
		h.t.Fatal(err)
	}
	if err := linear.Walk(records); err != nil {
		h.t.Error(err)
	}
	h.ok("journal", "verify")
}

// newPlayer is a client with a connection of its own.
func newPlayer(n int, socket string, p part, note func(linear.Op)) *linear.Client {
	return &linear.Client{
		N: n, Socket: socket, Dice: rand.New(rand.NewPCG(p.Seed, uint64(n))), Now: monotonic, Note: note, Wait: linearWait,
		Pick: func(d *rand.Rand) string { return p.Names[d.IntN(len(p.Names))] },
		Spec: func(*rand.Rand) *wire.Spec {
			return &wire.Spec{Cpus: 1, Memory: 128 << 20, Backend: "sim", Script: linearScript}
		},
	}
}

const linearScript = "boot=20ms;shutdown-takes=10ms"
