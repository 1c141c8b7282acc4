package journal

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/arcboxlabs/arcbox-engine/fsm"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/uuid"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// id is the nth machine's.
func id(n int) string { return fmt.Sprintf("01900000-0000-7000-8000-%012x", n) }

func created(n int, name string) fsm.Record {
	return fsm.Record{
		Machine: id(n), Kind: fsm.KindCreated, Name: name, Principal: "uid:0", Reason: fsm.ReasonPerson,
		Fact: &fsm.CreatedFact{Spec: fsm.Spec{Version: 1, CPUs: 2, Memory: 1 << 30, Backend: "sim"}, RunTag: "t"},
	}
}

func startRequested(n int) fsm.Record {
	return fsm.Record{
		Machine: id(n), Kind: fsm.KindStartRequested, CID: uint32(n + 3), Launch: uuid.NewString(), Principal: "uid:0",
		Reason: fsm.ReasonPerson, Fact: &fsm.StartRequestedFact{Boot: "b", Allowed: time.Minute},
	}
}

func health(n int, why string) fsm.Record {
	return fsm.Record{
		Machine: id(n), Kind: fsm.KindHealthChanged, Principal: "engine",
		Fact: &fsm.HealthChangedFact{Health: fsm.Health{Level: fsm.HealthDegraded, Why: why}},
	}
}

func removed(n int) fsm.Record {
	return fsm.Record{Machine: id(n), Kind: fsm.KindRemoved, Principal: "uid:0", Fact: &fsm.RemovedFact{}}
}

func engineStarted() fsm.Record {
	return fsm.Record{Kind: fsm.KindEngineStarted, Principal: "engine", Fact: &fsm.EngineStartedFact{Version: "v", Boot: "b"}}
}

// options are those of a test: no disk error is survived.
func options(t testing.TB, fs vfs.FS) Options {
	return Options{FS: fs, Ballast: -1, Fatal: func(err error) { t.Errorf("fatal: %v", err); panic(err) }}
}

func open(t testing.TB, o Options) *Journal {
	t.Helper()
	j, err := Open("/j", o)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func closed(t testing.TB, j *Journal) {
	t.Helper()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

func app(t testing.TB, j *Journal, recs ...fsm.Record) []fsm.Record {
	t.Helper()
	out, err := j.Append(recs...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestAppendAndReopen(t *testing.T) {
	fs := vfs.NewCrashableMem()
	j := open(t, options(t, fs))
	out := app(t, j, engineStarted(), created(1, "One"), startRequested(1))
	if out[0].Seq != 1 || out[2].Seq != 3 || out[2].To != fsm.Starting || out[2].Name != "One" || out[0].Time.IsZero() {
		t.Fatalf("got %+v", out)
	}
	if _, err := j.Append(created(2, "two"), removed(1)); !errors.Is(err, fsm.ErrIllegal) {
		t.Fatalf("removed of a Starting machine: %v", err)
	}
	if j.Last() != 3 || len(j.Machines()) != 1 {
		t.Fatalf("the refused batch left a trace: last %d", j.Last())
	}
	closed(t, j)
	for range 2 {
		j = open(t, options(t, fs))
		m, ok := j.Machine(id(1))
		if !ok || m.State != fsm.Starting || m.CID() != 4 || m.Seq != 3 {
			t.Fatalf("got %+v %v", m, ok)
		}
		closed(t, j)
	}
}
