package journal

import (
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/arcboxlabs/arcbox-engine/fsm"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"
)

var makeV1 = flag.Bool("make-v1", false, "write testdata/v1 anew: only before the first release")

// TestOldJournalOpensForEver opens a journal that an older engine left behind
// when it was killed. It must read the same with every engine to come: never
// write testdata/v1 anew to make this test pass.
func TestOldJournalOpensForEver(t *testing.T) {
	if *makeV1 {
		writeV1(t)
	}
	fs := vfs.NewCrashableMem()
	if ok, err := vfs.Clone(vfs.Default, fs, "testdata/v1", "/j", vfs.CloneSync); !ok || err != nil {
		t.Fatal(ok, err)
	}
	r, err := OpenReadOnly("/j", options(t, fs))
	if err != nil {
		t.Fatal(err)
	}
	same := func(j *Journal) {
		t.Helper()
		got, err := json.MarshalIndent(j.Machines(), "", "\t")
		if err != nil {
			t.Fatal(err)
		}
		if *makeV1 {
			if err := os.WriteFile("testdata/v1.json", got, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile("testdata/v1.json")
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(string(want), string(got)); d != "" {
			t.Error(d)
		}
		// Its three machines share one name, which no engine would do.
		rep, err := j.Verify(t.Context())
		if err != nil || len(rep.Faults) != 2 || rep.Records != j.Last() {
			t.Errorf("verify: %+v, %v", rep, err)
		}
		for _, f := range rep.Faults {
			if !strings.Contains(f.What, "already") {
				t.Errorf("fault: %+v", f)
			}
		}
	}
	same(r)
	es, err := r.Query(Query{})
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[fsm.Kind]bool{}
	for _, e := range es {
		kinds[e.Kind] = true
	}
	if len(es) != len(v1()) || len(kinds) != len(facts) {
		t.Errorf("%d records of %d kinds", len(es), len(kinds))
	}
	closed(t, r)
	j := open(t, options(t, fs))
	same(j)
	app(t, j, created(1000, "new"))
	closed(t, j)
}

// v1 is a history with every kind of format 1.
func v1() []fsm.Record {
	kinds := []fsm.Kind{
		fsm.KindEngineStarted,
		fsm.KindCreated, fsm.KindSpecChanged, fsm.KindDesiredChanged, fsm.KindStartRequested, fsm.KindRelaunched, fsm.KindLaunched,
		fsm.KindDiskFormatted, fsm.KindReady, fsm.KindBooted, fsm.KindRebooted, fsm.KindAddressChanged, fsm.KindHealthChanged,
		fsm.KindStopRequested, fsm.KindStopTightened, fsm.KindStopAbandoned, fsm.KindAdopted, fsm.KindExited,
		fsm.KindStrayFound, fsm.KindStrayGone, fsm.KindStartRequested, fsm.KindRepaired,
		fsm.KindEngineStopped,
	}
	byKind := map[fsm.Kind]fsm.Fact{}
	for _, f := range facts {
		byKind[f.Kind()] = f
	}
	var recs []fsm.Record
	for n := range 3 {
		for _, k := range kinds {
			r := recordOf(byKind[k])
			if r.Machine != "" {
				r.Machine = id(n)
			}
			recs = append(recs, r)
		}
	}
	gone := recordOf(byKind[fsm.KindRemoved])
	gone.Machine = id(1)
	return append(recs, gone)
}

// writeV1 leaves half of the history in tables and snapshots, half in the log.
func writeV1(t *testing.T) {
	fs := vfs.NewCrashableMem()
	o := options(t, fs)
	recs := v1()
	for _, part := range [][]fsm.Record{recs[:len(recs)/2], recs[len(recs)/2:]} {
		j := open(t, o)
		for _, r := range part {
			app(t, j, r)
		}
		left := image(t, fs)
		closed(t, j)
		if err := os.RemoveAll("testdata/v1"); err != nil {
			t.Fatal(err)
		}
		if ok, err := vfs.Clone(left, vfs.Default, "/j", "testdata/v1"); !ok || err != nil {
			t.Fatal(ok, err)
		}
	}
}
