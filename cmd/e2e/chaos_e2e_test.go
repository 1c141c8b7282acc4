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

// guestsOf are the machines of a run: each has another restart policy.
var guestsOf = []struct{ name, policy string }{{"a", "no"}, {"b", "on-failure"}, {"c", "always"}}

// backend is what the machines of a run are made of.
type backend struct {
	create   []string // flags
	start    []string // flags of the engine
	programs []string // each VM has one process of each
	pause    int      // ms; the longest, of most rounds, from the operations to the blow
	kills    int      // of engines during start, stop, restart and rm -f: so long goes a run that is no soak
	limit    time.Duration
}

var (
	real = backend{
		create: []string{"--memory", "128", "--cpus", "1"}, programs: []string{vmhostProgram, qemuProgram}, pause: 1000, kills: 45, limit: 150 * time.Second,
	}
	scripted = backend{
		create: []string{"--backend", "sim", "--script", "boot=150ms;shutdown-takes=100ms"}, start: []string{"--allow-sim"},
		programs: []string{vmhostProgram}, pause: 400, kills: 80, limit: 90 * time.Second,
	}
)

// chaos is one engine with three machines, and what is known of them.
type chaos struct {
	*bed
	backend
	books   *books
	guests  map[string]*guestLog // by name: of the VM that runs
	tally   *tally
	pid     int // of the engine
	logRead int // bytes of the engines' log
}

// TestChaos kills, stops and ends engines, VM hosts and hypervisors at random
// moments during start, stop, restart, rm -f and exec. After each round an
// oracle that shares nothing with the engine reads the journal, the list, the
// processes and the guests. Each round prints its seed: ARCBOX_SEED=n begins
// with that round.
//
// ARCBOX_SOAK=1h makes the run a soak of about an hour: half of it this test,
// the rest its siblings and what takes its time anyway.
func TestChaos(t *testing.T) { runChaos(t, real, 50) }

// TestChaosOfScripts is TestChaos with machines that boot in no time, so that
// more rounds reach the moments between two records.
func TestChaosOfScripts(t *testing.T) { runChaos(t, scripted, 20) }

// runChaos runs rounds; of a soak it takes so many percent.
func runChaos(t *testing.T, what backend, percent time.Duration) {
	seed, soak := plannedRun(t)
	c := &chaos{bed: newBed(t), backend: what, books: newBooks(), guests: map[string]*guestLog{}, tally: newTally()}
	c.quiet = true
	t.Cleanup(func() { report(t, "%s", c.tally) })
	t.Cleanup(func() {
		for _, g := range c.guests {
			g.end()
		}
	})
	c.startEngine()
	witness := c.followJournal()
	defer witness.cancel()
	c.atRest("in the beginning")
	for ; c.wanted(soak * percent / 100); seed++ {
		c.round(seed)
		if t.Failed() {
			t.Fatalf("ARCBOX_SEED=%d begins with this round", seed)
		}
		if c.tally.rounds%100 == 0 {
			report(t, "so far: %s", c.tally)
		}
	}
	c.settleAccounts(witness)
}

// plannedRun reads ARCBOX_SEED and ARCBOX_SOAK, 0 = no soak.
func plannedRun(t *testing.T) (seed uint64, soak time.Duration) {
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
		if err != nil || d <= 0 {
			t.Fatalf("ARCBOX_SOAK %q: a duration such as 1h: %v", text, err)
		}
		soak = d
	}
	return seed, soak
}

func (c *chaos) wanted(soak time.Duration) bool {
	ran := time.Since(c.tally.began)
	if soak > 0 {
		return ran < soak
	}
	kills := 0
	for _, n := range c.tally.verbs {
		kills += n
	}
	return kills < c.backend.kills && ran < c.limit
}

// startEngine starts one, unless one runs.
func (c *chaos) startEngine() {
	c.t.Helper()
	c.ok(append([]string{"engine", "start"}, c.start...)...)
}

// operation is a command of a round, on one machine.
type operation struct {
	verb, name string
	id         string // of the machine
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
		ops = append(ops, c.operate(args, before[name]))
	}
	blow := c.draw(dice)
	pause := time.Duration(dice.IntN(c.pause)) * time.Millisecond
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
			c.ok(append([]string{"create", g.name, "--restart", g.policy}, c.create...)...)
		}
	}
	c.read()
}

// operate begins an operation. Its client never starts an engine: the oracle
// wants to see what was left before the next one looks.
func (c *chaos) operate(args []string, m machineView) *operation {
	c.t.Helper()
	op := &operation{verb: strings.Join(args, " "), name: m.Name, id: m.ID}
	args = append([]string{args[0], m.Name, "--no-autostart"}, args[1:]...)
	if args[0] == "exec" {
		args = append(args, "-n", "--", "sh", "-c", "exit 7")
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
