package actorstest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/arcboxlabs/arcbox-engine/fsm"
)

// crashes counts what was tried: kinds of records × moments.
type crashes struct {
	tried  int
	matrix map[fsm.Kind]map[string]int
	seen   map[string]int // moments since the last record was durable
	last   uint64
	all    bool // every story was played to its end
}

// The moments of a record: before a byte of it is written, before it is synced,
// synced and nobody has heard of it, and before what follows from it happens.
var moments = []string{"write", "sync", "synced", "after"}

// aftermaths are what may be found when the next engine comes.
func aftermaths(s *Engine, g *Gate, n int) []Aftermath {
	as := []Aftermath{{}, {Reboot: true}}
	if strings.HasPrefix(g.What, "disk") {
		for _, unsynced := range []int{40, 100} {
			as = append(as, Aftermath{Unsynced: unsynced, Seed: uint64(n)})
		}
	}
	dirs, _ := s.World.Left()
	if len(dirs) == 0 {
		return as
	}
	slices.Sort(dirs)
	name, _, _ := strings.Cut(g.What, " ")
	if !slices.Contains(dirs, name) { // the disk's turn: take them in turn
		name = dirs[n%len(dirs)]
	}
	whats := []string{"other", "other-mute"}
	for id := range s.World.Lives() {
		if s.World.nameAt(id) == name {
			whats = append(whats, "killed", "poweroff", "panic", "mute")
		}
	}
	for _, what := range whats {
		as = append(as, Aftermath{Machine: name, What: what, Unsynced: n % 2 * 100})
	}
	return as
}

// TestCrashAtEveryStep plays every story and, before each thing that the
// engine does to the disk or to the world, kills it, with every aftermath. What
// it shows at that moment must be on the disk.
func TestCrashAtEveryStep(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob("testdata/stories/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatal(paths, err)
	}
	total := &crashes{matrix: map[fsm.Kind]map[string]int{}}
	played := 0
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			bubble(t, func(t *testing.T) { crashEverywhere(t, path, total) })
			played++
		})
	}
	total.all = only == "" && played == len(paths) && !t.Failed()
	total.print(t)
}

// only is the one crash that is to be tried: story/step/number of aftermath.
var only = os.Getenv("ARCBOX_CRASH")

func crashEverywhere(t *testing.T, path string, total *crashes) {
	total.seen, total.last = map[string]int{}, 0
	step := 0
	play(t, path, func(s *Engine, g *Gate) {
		if t.Failed() {
			return // the story is played to its end all the same, so that its engine is closed
		}
		step++
		total.moment(s, g)
		if err := s.shown(); err != nil {
			t.Errorf("before %q, step %d of %s: %v\nhistory:\n%s", g.What, step, filepath.Base(path), err, s.history())
			return
		}
		for i, a := range aftermaths(s, g, step) {
			// Under the race detector, one in eight; all without (./task test does both).
			id := fmt.Sprintf("%s/%d/%d", filepath.Base(path), step, i)
			if only != "" && only != id || only == "" && race && (step+i)%8 != 0 {
				continue
			}
			total.tried++
			if err := s.Judge(a); err != nil {
				t.Errorf("before %q, found %+v: %v\nagain: ARCBOX_CRASH=%s go test ./actors/actorstest -run TestCrashAtEveryStep\nhistory:\n%s",
					g.What, a, err, id, s.history())
				return
			}
		}
	})
}

// moment notes which record a moment belongs to.
func (c *crashes) moment(s *Engine, g *Gate) {
	records, _ := s.Records()
	for _, r := range records {
		if r.Seq <= c.last {
			continue
		}
		for m, n := range c.seen {
			c.add(r.Kind, m, n)
		}
		c.last = r.Seq
	}
	if after, ok := strings.CutPrefix(g.What, "disk "); ok {
		if c.seen[after]++; after == "write" {
			c.seen = map[string]int{"write": 1}
		}
		return
	}
	if len(records) > 0 {
		c.add(records[len(records)-1].Kind, "after", 1)
	}
}

func (c *crashes) add(k fsm.Kind, moment string, n int) {
	if c.matrix[k] == nil {
		c.matrix[k] = map[string]int{}
	}
	c.matrix[k][moment] += n
}

// print shows the matrix, and fails where a kind has no row, or a retired one has.
func (c *crashes) print(t *testing.T) {
	kinds := []fsm.Kind{fsm.KindEngineStarted, fsm.KindEngineStopped}
	for _, tr := range fsm.Transitions {
		kinds = append(kinds, tr.Kind)
	}
	table := fmt.Sprintf("%-18s", "record")
	for _, m := range moments {
		table += fmt.Sprintf("%8s", m)
	}
	for _, k := range kinds {
		table += fmt.Sprintf("\n%-18s", k)
		for _, m := range moments {
			n := c.matrix[k][m]
			table += fmt.Sprintf("%8d", n)
			if c.all && (n == 0) != slices.Contains(fsm.Retired, k) && m != "after" {
				t.Errorf("%s: %d crashes at the moment %q", k, n, m)
			}
		}
	}
	figures(t, "%d crashes\n%s", c.tried, table)
}

// figures are shown by the runner also where all tests pass, by way of the file
// that ARCBOX_SUMMARY names.
func figures(t *testing.T, format string, args ...any) {
	t.Helper()
	text := fmt.Sprintf(format, args...)
	t.Log(text)
	if path := os.Getenv("ARCBOX_SUMMARY"); path != "" {
		f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
		if err == nil {
			_, err = fmt.Fprintf(f, "%s: %s\n", t.Name(), text)
		}
		if err := errors.Join(err, f.Close()); err != nil {
			t.Error(err)
		}
	}
}
