package journal

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/arcboxlabs/arcbox-engine/fsm"
	"github.com/google/go-cmp/cmp"
)

// facts has a payload of every kind, with every field set. A new kind needs a
// row here, and a new format.
var facts = []fsm.Fact{
	&fsm.CreatedFact{Spec: fsm.Spec{
		Version: 1, CPUs: 2, Memory: 3, Kernel: "/k", Initrd: "/i", Cmdline: "c", Backend: "qemu", Accel: "auto",
		Restart: fsm.PolicyAlways, Script: "s",
	}, RunTag: "tag"},
	&fsm.StartRequestedFact{Boot: "b", Allowed: time.Minute, Attempt: 2, Spec: "sha", Saved: true},
	&fsm.RelaunchedFact{Why: "w", OldLaunch: "o", OldCID: 4, Taken: true},
	&fsm.ReadyFact{AgentVersion: "v", AgentID: "a", GuestBoot: "g", Address: "10.0.0.1", Phases: map[string]int64{"kernel": 5, "init": 9}, At: fsm.Moment{Boot: "b", Mono: 7}},
	&fsm.StopRequestedFact{Mode: fsm.StopGraceful, Deadline: fsm.Moment{Boot: "b", Mono: 8}, NoKill: true, Then: fsm.ThenStart},
	&fsm.StopAbandonedFact{Why: "w"},
	&fsm.ExitedFact{Cause: fsm.CauseCrashed, Status: -1, Detail: "d", Note: true, Tail: "t", Plan: plan},
	&fsm.RepairedFact{Said: fsm.Running, Found: "f", Cause: fsm.CauseHostLost, Plan: plan, Tail: "t"},
	&fsm.RemovedFact{},
	&fsm.LaunchedFact{At: fsm.Moment{Boot: "b", Mono: 7}, Driver: "d", Version: "v", Accel: "tcg", Note: "n"},
	&fsm.AdoptedFact{At: fsm.Moment{Boot: "b", Mono: 7}, Version: "v"},
	&fsm.BootedFact{Phases: map[string]int64{"init": 9}},
	&fsm.RebootedFact{Times: 3},
	&fsm.DesiredChangedFact{Desired: fsm.DesiredRunning},
	&fsm.StopTightenedFact{Mode: fsm.StopKill, Deadline: fsm.Moment{Boot: "b", Mono: 8}, NoKill: true, Then: fsm.ThenRemove},
	&fsm.SpecChangedFact{Spec: fsm.Spec{Version: 1, CPUs: 4}},
	&fsm.DiskFormattedFact{Disk: "data"},
	&fsm.AddressChangedFact{Address: "fe80::1"},
	&fsm.HealthChangedFact{Health: fsm.Health{Level: fsm.HealthUnknown, Why: "w"}},
	&fsm.StrayFoundFact{Launch: "l", CID: 9, What: "w"},
	&fsm.StrayGoneFact{},
	&fsm.ProvisionedFact{Round: 1, Status: 3, Signal: 15, TimedOut: true, Interrupted: true, Error: "e", Took: time.Second, Tail: "t"},
	&fsm.RenamedFact{From: "old"},
	&fsm.EgressDeniedFact{Denial: fsm.Denial{Protocol: "tcp", To: "1.2.3.4:443"}},
	&fsm.PauseRequestedFact{},
	&fsm.ResumeRequestedFact{Why: "w"},
	&fsm.EngineStartedFact{Version: "v", Boot: "b"},
	&fsm.EngineStoppedFact{Machines: true},
}

var plan = fsm.Plan{Start: true, Attempt: 3, NotBefore: time.Unix(1_700_000_000, 123_456_789).UTC(), Resting: true}

// The table of facts is that of fsm: the lifecycle's kinds, and the engine's two.
func TestEveryKindHasARow(t *testing.T) {
	rows := map[fsm.Kind]bool{}
	for _, f := range facts {
		rows[f.Kind()] = true
	}
	want := []fsm.Kind{fsm.KindEngineStarted, fsm.KindEngineStopped}
	for _, tr := range fsm.Transitions {
		want = append(want, tr.Kind)
	}
	for _, k := range want {
		if !rows[k] {
			t.Errorf("kind %s has no row in facts: add one, and raise format", k)
		}
	}
	if len(rows) != len(want) {
		t.Errorf("%d rows for %d kinds", len(rows), len(want))
	}
}

func recordOf(f fsm.Fact) fsm.Record {
	r := fsm.Record{
		Seq: 1 << 40, Time: time.Unix(1_700_000_000, 1).UTC(), Machine: id(7), Kind: f.Kind(), To: kinds[f.Kind()], Name: "web",
		CID: 9, Principal: "uid:0", Reason: fsm.ReasonPerson, Request: "r-1", Launch: "l-1", Fact: f,
	}
	if f.Kind() == fsm.KindEngineStarted || f.Kind() == fsm.KindEngineStopped {
		r.Machine = ""
	}
	return r
}

func encoded(t testing.TB, r fsm.Record) []byte {
	t.Helper()
	k, ok := parseMachine(r.Machine)
	if !ok {
		t.Fatalf("machine id %q", r.Machine)
	}
	v, err := encode(r, k, new(bytes.Buffer))
	if err != nil {
		t.Fatal(err)
	}
	seal(v, r.Seq, r.Time, hash{1, 2, 3})
	return v
}

func TestEveryKindSurvivesTheDisk(t *testing.T) {
	for _, f := range facts {
		if n := reflect.ValueOf(f).Elem(); n.NumField() > 0 && n.IsZero() {
			t.Errorf("%s: its row is empty", f.Kind())
		}
		r := recordOf(f)
		got, err := decode(r.Seq, encoded(t, r))
		if err != nil {
			t.Errorf("%s: %v", f.Kind(), err)
		}
		if d := cmp.Diff(r, got); d != "" {
			t.Errorf("%s: %s", f.Kind(), d)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	good := encoded(t, recordOf(facts[0]))
	change := func(f func(v []byte) []byte) []byte { return f(bytes.Clone(good)) }
	for name, v := range map[string][]byte{
		"nothing":         nil,
		"a short value":   good[:20],
		"no end":          good[:len(good)-40],
		"another version": change(func(v []byte) []byte { v[0] = 9; return v }),
		"another place":   change(func(v []byte) []byte { v[8]++; return v }),
		"no CBOR":         change(func(v []byte) []byte { v[headerSize] = 0xff; return v }),
		"an unknown kind": change(func(v []byte) []byte { return bytes.Replace(v, []byte("created"), []byte("cremate"), 1) }),
		"too long":        append(bytes.Clone(good), make([]byte, 2*MaxRecord)...),
	} {
		if r, err := decode(1<<40, v); err == nil {
			t.Errorf("%s: read as %+v", name, r)
		}
	}
	stone, err := encodeStone("gone", []byte("rest"))
	if err != nil {
		t.Fatal(err)
	}
	seal(stone, 5, time.Unix(1, 0), hash{})
	if _, err := decode(5, stone); !errors.Is(err, errLost) || !strings.Contains(err.Error(), "gone") {
		t.Errorf("a gravestone: %v", err)
	}
}

func TestKeysKeepPairsApart(t *testing.T) {
	if bytes.Equal(keyRequest("a/b", "c"), keyRequest("a", "b/c")) {
		t.Error("two requests share a key")
	}
	if bytes.Equal(keyRequest("a%2Fb", "c"), keyRequest("a/b", "c")) {
		t.Error("two requests share a key")
	}
	if got := after([]byte("m/")); string(got) != "m0" {
		t.Errorf("got %q", got)
	}
	for _, bad := range []string{"x", "01900000-0000-7000-8000-00000000000A", "{01900000-0000-7000-8000-000000000001}", "00000000-0000-0000-0000-000000000000"} {
		if _, ok := parseMachine(bad); ok {
			t.Errorf("%q was taken for a machine id", bad)
		}
	}
}

// What is written is read without the library: else all of a history would take
// several times as long, with nobody the wiser.
func TestWhatIsWrittenIsPlain(t *testing.T) {
	for _, fact := range facts {
		want := recordOf(fact)
		v := encoded(t, want)
		r, m, ok := plainRecord(v[headerSize:len(v)-hashSize], want.Seq, want.Time)
		if !ok {
			t.Errorf("%s is not plain", fact.Kind())
			continue
		}
		if k, _ := parseMachine(want.Machine); k != m {
			t.Errorf("%s is of machine %s, and was said to be of %s", fact.Kind(), k, m)
		}
		if d := cmp.Diff(want, r); d != "" {
			t.Error(d)
		}
	}
}
