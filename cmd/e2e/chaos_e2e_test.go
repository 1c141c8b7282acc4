//go:build e2e

package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What a run of TestChaos has to reach where it is not a soak.
const (
	chaosRounds = 110
	chaosKills  = 100 // of engines, during start, stop, restart and rm -f
)

// guestsOf are the machines of TestChaos: each has another restart policy.
var guestsOf = []struct{ name, policy string }{{"a", "no"}, {"b", "on-failure"}, {"c", "always"}}

// chaos is one engine with three machines, and what is known of them.
type chaos struct {
	*bed
	books  *books
	guests map[string]*guestLog // by name: of the VM that runs
	tally  *tally
	pid    int // of the engine
}

// TestChaos kills, stops and ends engines, VM hosts and hypervisors at random
// moments during start, stop, restart, rm -f and exec. After each round an
// oracle that shares nothing with the engine reads the journal, the list, the
// processes and the guests. Each round prints its seed: ARCBOX_SEED=n begins
// with that round. ARCBOX_SOAK=1h goes on for an hour.
func TestChaos(t *testing.T) {
	seed, until := plannedRun(t)
	c := &chaos{bed: newBed(t), books: newBooks(), guests: map[string]*guestLog{}, tally: newTally()}
	c.quiet = true
	t.Cleanup(func() { report(t, "%s", c.tally) })
	t.Cleanup(func() {
		for _, g := range c.guests {
			g.stream.cancel()
		}
	})
	c.ok("engine", "start")
	witness := c.followJournal()
	defer witness.cancel()
	c.atRest("in the beginning")
	for ; c.wanted(until); seed++ {
		c.round(seed)
		if t.Failed() {
			t.Fatalf("ARCBOX_SEED=%d ./task e2e begins with this round", seed)
		}
		if c.tally.rounds%100 == 0 {
			report(t, "so far: %s", c.tally)
		}
	}
	c.settleAccounts(witness)
}

// plannedRun reads ARCBOX_SEED and ARCBOX_SOAK.
func plannedRun(t *testing.T) (seed uint64, until time.Time) {
	t.Helper()
	seed = rand.Uint64N(1e9)
	if text := os.Getenv("ARCBOX_SEED"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("ARCBOX_SEED: %v", err)
		}
		seed = n
	}
	if text := os.Getenv("ARCBOX_SOAK"); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil {
			t.Fatalf("ARCBOX_SOAK: %v", err)
		}
		until = time.Now().Add(d)
	}
	return seed, until
}

func (c *chaos) wanted(until time.Time) bool {
	if !until.IsZero() {
		return time.Now().Before(until)
	}
	kills := 0
	for _, n := range c.tally.verbs {
		kills += n
	}
	return c.tally.rounds < chaosRounds || kills < chaosKills
}

// operation is a command of a round, on one machine.
type operation struct {
	verb, name string
	state      string // of the machine, before
	running    *running
	result     result
	killed     bool // its client was killed, so that nobody knows how it ended
}

// pick chooses what is done to a machine.
func pick(dice *rand.Rand, state string) []string {
	verbs := [][]string{{"start"}, {"start"}, {"start"}, {"start"}, {"rm", "-f"}}
	if state == "Running" {
		verbs = [][]string{
			{"stop", "--timeout", "8s"}, {"stop", "--timeout", "8s"}, {"stop", "--kill"}, {"restart"}, {"restart"}, {"restart"},
			{"rm", "-f"}, {"rm", "-f"}, {"exec"},
		}
	}
	return verbs[dice.IntN(len(verbs))]
}

// round is one: operations on one to three machines, a blow in the middle of
// them, the way back to rest, the oracle.
func (c *chaos) round(seed uint64) {
	c.t.Helper()
	dice := rand.New(rand.NewPCG(seed, 0))
	c.tally.rounds++
	c.createMissing()
	c.books.begin()
	before := c.list()
	var ops []*operation
	for _, i := range dice.Perm(len(guestsOf))[:1+dice.IntN(len(guestsOf))] {
		name := guestsOf[i].name
		args := pick(dice, before[name].State)
		ops = append(ops, c.operate(args, name, before[name].State))
	}
	blow := c.draw(dice)
	pause := time.Duration(dice.IntN(1000)) * time.Millisecond
	if dice.IntN(3) == 0 {
		pause *= 3 // into a guest's boot
	}
	var did []string
	for _, op := range ops {
		did = append(did, op.verb+" "+op.name)
	}
	what := fmt.Sprintf("round %d, seed %d: %s; after %s: %s", c.tally.rounds, seed, strings.Join(did, ", "), pause, blow.name)
	<-time.After(pause)
	hit := blow.strike(c, ops)
	c.t.Logf("%s; hit %s", what, hit)
	c.await(ops)
	c.atRest(what)
	c.judge(what, ops, hit, before)
}

// createMissing gives back what earlier rounds removed.
func (c *chaos) createMissing() {
	c.t.Helper()
	there := c.list()
	for _, g := range guestsOf {
		if _, ok := there[g.name]; !ok {
			c.ok("create", g.name, "--memory", "128", "--cpus", "1", "--restart", g.policy)
		}
	}
	c.read()
}

// operate begins an operation. Its client never starts an engine: the oracle
// wants to see what was left before the next one looks.
func (c *chaos) operate(args []string, name, state string) *operation {
	c.t.Helper()
	op := &operation{verb: strings.Join(args, " "), name: name, state: state}
	args = append([]string{args[0], name, "--no-autostart"}, args[1:]...)
	if args[0] == "exec" {
		args = append(args, "-n", "--", "sh", "-c", "usleep 500000; exit 7")
	} else {
		args = append(args, "--format", "json")
	}
	op.running = c.begin(args...)
	return op
}

// await waits for the clients that were not killed.
func (c *chaos) await(ops []*operation) {
	c.t.Helper()
	for _, op := range ops {
		op.result = op.running.wait()
	}
}

// killClients kills the clients of a round.
func killClients(ops []*operation) {
	for _, op := range ops {
		op.killed = true
		_ = op.running.cmd.Process.Signal(syscall.SIGKILL) // it may be over
	}
}

// read brings the books up to date.
func (c *chaos) read() {
	c.t.Helper()
	var shown []record
	c.into(&shown, "journal", "--limit", "200")
	if len(shown) > 0 && shown[0].Seq > uint64(len(c.books.records))+1 {
		c.into(&shown, "journal", "--limit", "1000")
	}
	c.books.read(shown)
	for _, w := range c.books.wrong {
		c.t.Error(w)
	}
	c.books.wrong = nil
}
