package journal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/arcboxlabs/arcbox-engine/fsm"
	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"
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

// options are those of a test: no disk error is survived, no damage expected.
func options(t testing.TB, fs vfs.FS) Options {
	return Options{
		FS: fs, Ballast: -1, Log: slog.New(slog.NewTextHandler(testLog{t}, &slog.HandlerOptions{Level: slog.LevelWarn})),
		Now:   (&clock{now: time.Unix(1_700_000_000, 0)}).Now,
		Fatal: func(err error) { t.Errorf("fatal: %v", err); runtime.Goexit() },
	}
}

// testLog fails a test on a warning or an error.
type testLog struct{ t testing.TB }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Errorf("logged: %s", p)
	return len(p), nil
}

// quiet is for tests that do damage.
func quiet(o Options) Options {
	o.Log = nil
	return o
}

// clock moves by a microsecond at each look.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(time.Microsecond)
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
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

// sound fails the test where Verify finds anything.
func sound(t testing.TB, j *Journal) {
	t.Helper()
	rep, err := j.Verify(context.Background())
	if err != nil || len(rep.Faults) > 0 || rep.Records+rep.Lost != j.Last() {
		t.Fatalf("verify: %+v, %v", rep, err)
	}
}

// A question about what can't be a machine must not keep the journal open for ever.
func TestNoMachine(t *testing.T) {
	j := open(t, options(t, vfs.NewMem()))
	for _, id := range []string{"", "web", "no-such-machine"} {
		if m, ok := j.Machine(id); ok {
			t.Errorf("%q is %+v", id, m)
		}
	}
	done := make(chan error)
	go func() { done <- j.Close() }()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the journal does not close")
	}
}

func TestMalformedRecordsAreRefused(t *testing.T) {
	j := open(t, options(t, vfs.NewCrashableMem()))
	defer closed(t, j)
	app(t, j, created(1, "one"))
	long := make([]byte, MaxText+1)
	for name, change := range map[string]func(*fsm.Record){
		"a machine id that is none":    func(r *fsm.Record) { r.Machine = "web" },
		"a machine for the engine":     func(r *fsm.Record) { r.Kind, r.Fact = fsm.KindEngineStopped, &fsm.EngineStoppedFact{} },
		"no machine":                   func(r *fsm.Record) { r.Machine = "" },
		"an unknown kind":              func(r *fsm.Record) { r.Kind = "cremated" },
		"no payload":                   func(r *fsm.Record) { r.Fact = nil },
		"a payload that is nil":        func(r *fsm.Record) { r.Fact = (*fsm.HealthChangedFact)(nil) },
		"another kind's payload":       func(r *fsm.Record) { r.Fact = &fsm.RemovedFact{} },
		"a long principal":             func(r *fsm.Record) { r.Principal = string(long) },
		"a long request":               func(r *fsm.Record) { r.Request = string(long) },
		"a long record":                func(r *fsm.Record) { r.Fact.(*fsm.HealthChangedFact).Health.Why = string(make([]byte, MaxRecord)) },
		"a state that it leads not to": func(r *fsm.Record) { r.To = fsm.Running },
	} {
		r := health(1, "x")
		change(&r)
		if _, err := j.Append(r); !errors.Is(err, ErrInvalid) && !errors.Is(err, fsm.ErrIllegal) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if j.Last() != 1 {
		t.Errorf("something was written: last is %d", j.Last())
	}
}

func TestARemovedMachineIsRememberedAndItsIdNotReused(t *testing.T) {
	fs := vfs.NewCrashableMem()
	j := open(t, options(t, fs))
	app(t, j, created(1, "Web"), removed(1))
	app(t, j, created(2, "web"))
	check := func() {
		t.Helper()
		if _, err := j.Append(created(1, "web")); !errors.Is(err, fsm.ErrIllegal) {
			t.Errorf("a removed machine was created again: %v", err)
		}
		if m, ok := j.Machine(id(1)); !ok || m.State != fsm.Removed || m.Name != "Web" {
			t.Errorf("got %+v %v", m, ok)
		}
		ms, err := j.ByName("WEB")
		if err != nil || len(ms) != 2 || ms[0].ID != id(1) || ms[1].ID != id(2) {
			t.Errorf("by name: %+v %v", ms, err)
		}
		if len(j.Machines()) != 1 {
			t.Errorf("listed: %+v", j.Machines())
		}
		sound(t, j)
	}
	check()
	closed(t, j)
	j = open(t, options(t, fs))
	check()
	closed(t, j)
	if _, ok := j.Machine(id(1)); ok {
		t.Error("a closed journal read its disk")
	}
}

// A snapshot may lag, but a long history is never all tail, and a removed
// machine leaves none behind.
func TestSnapshotsFollowTheHistory(t *testing.T) {
	fs := vfs.NewCrashableMem()
	j := open(t, options(t, fs))
	app(t, j, created(1, "one"), created(2, "two"), created(3, "three"), health(2, "x"))
	app(t, j, removed(2))
	reopen := func(j *Journal) *Journal {
		t.Helper()
		j2, err := Open("/j", options(t, fs.CrashClone(vfs.CrashCloneCfg{})))
		if err != nil {
			t.Fatal(err)
		}
		if a, b := fmt.Sprint(j.Machines()), fmt.Sprint(j2.Machines()); len(j.Machines()) != len(j2.Machines()) {
			t.Fatalf("%s became %s", a, b)
		}
		return j2
	}
	for i := range 14 {
		recs := make([]fsm.Record, 400)
		for n := range recs {
			recs[n] = health(1, fmt.Sprint(i, n))
		}
		app(t, j, recs...)
		j2 := reopen(j)
		v, err := j2.get(keyLast)
		e, err2 := decodeEnd(v)
		if err != nil || err2 != nil || e.seq+1-e.tail > 2*snapshotLag {
			t.Fatalf("the tail of %d records starts at %d: %v %v", e.seq, e.tail, err, err2)
		}
		if i == 13 {
			sound(t, j2)
		}
		closed(t, j2)
	}
	k, _ := parseMachine(id(2))
	if _, err := j.get(keySnapshot(k)); !errors.Is(err, pebble.ErrNotFound) {
		t.Errorf("the snapshot of a removed machine: %v", err)
	}
	closed(t, j)
}

func TestRequestsAreRememberedForADay(t *testing.T) {
	fs := vfs.NewCrashableMem()
	c := &clock{now: time.Unix(1_700_000_000, 0)}
	o := options(t, fs)
	o.Now = c.Now
	j := open(t, o)
	r := created(1, "one")
	r.Principal, r.Request = "ssh://host", "r/1"
	r = app(t, j, r)[0]
	want := Outcome{Seq: r.Seq, Machine: id(1), Kind: fsm.KindCreated, Time: r.Time}
	if got, ok := j.Request("ssh://host", "r/1"); !ok || got != want {
		t.Errorf("got %+v %v", got, ok)
	}
	if _, ok := j.Request("ssh:", "/host/r/1"); ok {
		t.Error("somebody else's request was found")
	}
	refused := removed(2)
	refused.Request = "r2"
	if _, err := j.Append(refused); err == nil {
		t.Error("a machine that is not there was removed")
	}
	if _, ok := j.Request("uid:0", "r2"); ok {
		t.Error("a refused request has an outcome")
	}
	closed(t, j)
	j = open(t, o)
	if got, ok := j.Request("ssh://host", "r/1"); !ok || got != want {
		t.Errorf("after reopening: %+v %v", got, ok)
	}
	c.advance(keep24h)
	if _, ok := j.Request("ssh://host", "r/1"); ok {
		t.Error("it is kept for longer than a day")
	}
	app(t, j, health(1, "the writer prunes"))
	app(t, j, health(1, "and has pruned"))
	if _, err := j.get(keyRequest("ssh://host", "r/1")); !errors.Is(err, pebble.ErrNotFound) {
		t.Errorf("it was not pruned: %v", err)
	}
	closed(t, j)
}

func TestQuery(t *testing.T) {
	fs := vfs.NewCrashableMem()
	j := open(t, options(t, fs))
	app(t, j, engineStarted(), created(1, "one"), created(2, "two"))
	var mid time.Time
	for i := range 3000 {
		out := app(t, j, health(1+i%2, fmt.Sprint(i)))
		if i == 1500 {
			mid = out[0].Time
		}
	}
	for name, c := range map[string]struct {
		q           Query
		n           int
		first, last uint64
	}{
		"all":                  {Query{}, 3003, 1, 3003},
		"the first":            {Query{Limit: 2}, 2, 1, 2},
		"the newest":           {Query{Limit: 2, Newest: true}, 2, 3002, 3003},
		"behind":               {Query{After: 3000}, 3, 3001, 3003},
		"behind the end":       {Query{After: 3003}, 0, 0, 0},
		"far behind the end":   {Query{After: ^uint64(0)}, 0, 0, 0},
		"a kind":               {Query{Kinds: []fsm.Kind{fsm.KindCreated}}, 2, 2, 3},
		"the newest of a kind": {Query{Kinds: []fsm.Kind{fsm.KindCreated}, Newest: true, Limit: 1}, 1, 3, 3},
		"a machine":            {Query{Machine: id(1)}, 1501, 2, 3002},
		"a machine's newest":   {Query{Machine: id(1), Newest: true, Limit: 2}, 2, 3000, 3002},
		"a machine behind":     {Query{Machine: id(1), After: 2998}, 2, 3000, 3002},
		"since":                {Query{Since: mid}, 1500, 1504, 3003},
		"since, of a machine":  {Query{Since: mid, Machine: id(2)}, 750, 1505, 3003},
		"the engine's":         {Query{Engine: true}, 1, 1, 1},
		"the engine's behind":  {Query{Engine: true, After: 1}, 0, 0, 0},
		"before":               {Query{Before: 3}, 2, 1, 2},
		"newest before":        {Query{Before: 1000, Newest: true, Limit: 2}, 2, 998, 999},
		"a machine's before":   {Query{Machine: id(1), Before: 1000, Newest: true, Limit: 1}, 1, 998, 998},
		"between, turned":      {Query{Machine: id(1), After: 1000, Before: 10}, 0, 0, 0},
		"back to its creation": {Query{Machine: id(1), Newest: true, BackTo: []fsm.Kind{fsm.KindCreated}}, 1501, 2, 3002},
		"back to the newest":   {Query{Machine: id(1), Newest: true, BackTo: []fsm.Kind{fsm.KindHealthChanged}}, 1, 3002, 3002},
		"newest behind":        {Query{After: 2999, Newest: true, Limit: 100}, 4, 3000, 3003},
	} {
		es, err := j.Query(c.q)
		if err != nil || len(es) != c.n || c.n > 0 && (es[0].Seq != c.first || es[c.n-1].Seq != c.last) {
			t.Errorf("%s: %d entries, %v", name, len(es), err)
		}
		if !slices.IsSortedFunc(es, func(a, b Entry) int { return int(a.Seq) - int(b.Seq) }) {
			t.Errorf("%s: out of order", name)
		}
	}
	if _, err := j.Query(Query{Machine: "web"}); err == nil {
		t.Error("a name was taken for an id")
	}
	closed(t, j)
	if _, err := j.Query(Query{}); !errors.Is(err, ErrClosed) {
		t.Errorf("a closed journal: %v", err)
	}
	if _, err := j.Append(health(1, "x")); !errors.Is(err, ErrClosed) {
		t.Errorf("a closed journal: %v", err)
	}
}

// A follower that asks for Changed before it queries sees every record once,
// in order, and none that is not durable.
func TestFollowWithoutAGap(t *testing.T) {
	const writers, each = 8, 60
	j := open(t, options(t, vfs.NewCrashableMem()))
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			app(t, j, created(w, fmt.Sprint("m", w)))
			for i := range each - 1 {
				app(t, j, health(w, fmt.Sprint(i)))
			}
		})
	}
	for range 3 {
		wg.Go(func() {
			var seen uint64
			for seen < writers*each {
				news := j.Changed()
				es, err := j.Query(Query{After: seen, Limit: 7})
				if err != nil {
					t.Error(err)
					return
				}
				for _, e := range es {
					if e.Seq != seen+1 || e.Seq > j.Last() || e.Unreadable != nil {
						t.Errorf("behind %d came %+v, the last is %d", seen, e, j.Last())
					}
					seen = e.Seq
				}
				if len(es) == 0 {
					<-news
				}
			}
		})
	}
	wg.Wait()
	sound(t, j)
	closed(t, j)
}

func TestReadOnly(t *testing.T) {
	fs := vfs.NewCrashableMem()
	if _, err := OpenReadOnly("/j", options(t, fs)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no journal: %v", err)
	}
	j := open(t, options(t, fs))
	app(t, j, created(1, "one"))
	if _, err := OpenReadOnly("/j", options(t, fs)); !errors.Is(err, ErrLocked) {
		t.Errorf("a journal in use: %v", err)
	}
	image := fs.CrashClone(vfs.CrashCloneCfg{})
	before := files(t, image, "/j")
	r, err := OpenReadOnly("/j", options(t, image))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Append(created(2, "two")); !errors.Is(err, ErrReadOnly) {
		t.Errorf("append: %v", err)
	}
	if err := r.GiveUpBallast(); !errors.Is(err, ErrReadOnly) {
		t.Errorf("ballast: %v", err)
	}
	if es, err := r.Query(Query{}); err != nil || len(es) != 1 || len(r.Machines()) != 1 {
		t.Errorf("got %+v %v", es, err)
	}
	sound(t, r)
	closed(t, r)
	if d := cmp.Diff(before, files(t, image, "/j")); d != "" {
		t.Errorf("it changed the disk: %s", d)
	}
	closed(t, j)
}

func TestLock(t *testing.T) {
	dir := t.TempDir()
	j, err := Open(dir, Options{Ballast: -1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, Options{Ballast: -1}); !errors.Is(err, ErrLocked) {
		t.Errorf("a second engine: %v", err)
	}
	closed(t, j)
	if err := j.Close(); err != nil {
		t.Errorf("closed twice: %v", err)
	}
	if j, err = Open(dir, Options{Ballast: -1}); err != nil {
		t.Fatal(err)
	}
	closed(t, j)
}

func TestNewerFormat(t *testing.T) {
	fs := vfs.NewCrashableMem()
	j := open(t, options(t, fs))
	if err := j.db.Set(keyFormat, []byte{format + 1}, pebble.Sync); err != nil {
		t.Fatal(err)
	}
	closed(t, j)
	if _, err := Open("/j", options(t, fs)); !errors.Is(err, ErrNewerFormat) {
		t.Errorf("got %v", err)
	}
	if _, err := Recover("/j", "/k", options(t, fs)); !errors.Is(err, ErrNewerFormat) {
		t.Errorf("recover: %v", err)
	}
}

func TestNewerPebble(t *testing.T) {
	fs := vfs.NewCrashableMem()
	closed(t, open(t, options(t, fs)))
	names, err := fs.List("/j/db")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if marker, ok := strings.CutSuffix(n, fmt.Sprintf(".%03d", formatMajor)); ok && strings.HasPrefix(n, "marker.format") {
			if err := fs.Rename("/j/db/"+n, "/j/db/"+marker+".999"); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := Open("/j", options(t, fs)); !errors.Is(err, ErrNewerFormat) {
		t.Errorf("got %v", err)
	}
}

// files is every file under a directory, for comparison.
func files(t testing.TB, fs vfs.FS, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	names, err := fs.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		path := fs.PathJoin(dir, n)
		st, err := fs.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if st.IsDir() {
			for k, v := range files(t, fs, path) {
				all[k] = v
			}
			continue
		}
		v, err := readFile(fs, path)
		if err != nil {
			t.Fatal(err)
		}
		all[path] = string(v)
	}
	return all
}
