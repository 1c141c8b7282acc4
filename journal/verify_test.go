package journal

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/arcboxlabs/arcbox-engine/fsm"
	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// sample is a closed journal in which all is in the snapshots.
func sample(t *testing.T) *vfs.MemFS {
	t.Helper()
	fs := vfs.NewCrashableMem()
	o := options(t, fs)
	o.Checkpoint = 3 // at 3 and at 7
	j := open(t, o)
	one := created(1, "one")
	one.Request = "r1"
	app(t, j, engineStarted(), one, created(2, "two")) // 1 to 3
	for j.lastCheckpoint(3).seq != 3 {                 // a second one is not begun while the first is under way
		runtime.Gosched()
	}
	app(t, j, startRequested(1), health(2, "x")) // 4 and 5
	app(t, j, created(3, "three"), removed(3))   // 6 and 7
	app(t, j, health(1, "y"))                    // 8
	sound(t, j)
	closed(t, j)
	return fs
}

// forge changes what is stored, as no damage to a disk would: with checksums
// that fit.
type forge struct {
	t *testing.T
	*pebble.DB
}

func (f forge) get(key []byte) []byte {
	f.t.Helper()
	v, err := source{reader: f.DB}.get(key)
	if err != nil {
		f.t.Fatal(err)
	}
	return v
}

func (f forge) set(key, value []byte) {
	f.t.Helper()
	if err := f.Set(key, value, nil); err != nil {
		f.t.Fatal(err)
	}
}

func (f forge) del(key []byte) {
	f.t.Helper()
	if err := f.Delete(key, nil); err != nil {
		f.t.Fatal(err)
	}
}

func (f forge) record(seq uint64, change func(v []byte) []byte) {
	f.t.Helper()
	f.set(keyRecord(seq), change(f.get(keyRecord(seq))))
}

func (f forge) end(change func(*end)) {
	f.t.Helper()
	e, err := decodeEnd(f.get(keyLast))
	if err != nil {
		f.t.Fatal(err)
	}
	change(&e)
	f.set(keyLast, e.encode())
}

func (f forge) snapshot(n int, change func(*fsm.Machine)) {
	f.t.Helper()
	k, _ := parseMachine(id(n))
	var m fsm.Machine
	if v, err := (source{reader: f.DB}).get(keySnapshot(k)); err == nil {
		if m, err = decodeSnapshot(k, v); err != nil {
			f.t.Fatal(err)
		}
	}
	change(&m)
	v, err := encodeSnapshot(m)
	if err != nil {
		f.t.Fatal(err)
	}
	f.set(keySnapshot(k), v)
}

var (
	one, _   = parseMachine(id(1))
	two, _   = parseMachine(id(2))
	three, _ = parseMachine(id(3))
	r1       = keyRequest("uid:0", "r1")
)

// planted are faults, what Verify says of them, and where it puts them: at a
// record, to a machine, 0 where it concerns none.
var planted = map[string]struct {
	plant func(f forge)
	says  string
	at    uint64
	of    int
}{
	"a record is altered": {func(f forge) {
		f.record(4, func(v []byte) []byte { return bytes.Replace(v, []byte("person"), []byte("policy"), 1) })
	}, "the hash that it holds", 5, 0},
	"the last record is altered": {func(f forge) {
		f.record(8, func(v []byte) []byte { return bytes.Replace(v, []byte("ay"), []byte("az"), 1) })
	}, "x/last has another hash", 8, 0},
	"the chain is broken": {func(f forge) {
		f.record(5, func(v []byte) []byte { v[len(v)-1] ^= 1; return v })
	}, "the hash that it holds", 5, 0},
	"the time of a record is altered": {func(f forge) {
		f.record(4, func(v []byte) []byte { v[16] ^= 1; return v })
	}, "the hash that it holds", 5, 0},
	"a gap":                   {func(f forge) { f.del(keyRecord(5)) }, "missing", 5, 2},
	"a gap in the index, too": {func(f forge) { f.del(keyRecord(5)); f.del(keyIndex(two, 5)) }, "not known whose", 5, 0},
	"a record stands twice":   {func(f forge) { f.set(keyRecord(5), f.get(keyRecord(3))) }, "it says that it is record 3", 5, 2},
	"a record of another kind": {func(f forge) {
		f.record(5, func(v []byte) []byte { return bytes.Replace(v, []byte("health"), []byte("wealth"), 1) })
	}, "is not known", 5, 2},
	"a version to come": {func(f forge) { f.record(5, func(v []byte) []byte { v[0] = 9; return v }) }, "version 9", 5, 2},
	"a gravestone over a record": {func(f forge) {
		f.record(5, func(v []byte) []byte {
			s, err := encodeStone("nothing", v)
			if err != nil {
				f.t.Fatal(err)
			}
			seal(s, 5, plan.NotBefore, hash(v[len(v)-hashSize:]))
			return s
		})
	}, "the hash that it holds", 6, 0},
	"a gravestone that is none": {func(f forge) { f.record(5, func(v []byte) []byte { v[0] = versionLost; return v }) }, "gravestone", 5, 2},
	"the index lacks a record":  {func(f forge) { f.del(keyIndex(one, 4)) }, "the index m/", 4, 1},
	"the index has one more":    {func(f forge) { f.set(keyIndex(one, 5), nil) }, "the index m/", 5, 1},
	"the index has another":     {func(f forge) { f.del(keyIndex(two, 5)); f.set(keyIndex(one, 5), nil) }, "the index m/", 5, 2},
	"the index is ahead":        {func(f forge) { f.set(keyIndex(one, 9), nil) }, "the index m/", 9, 1},
	"a snapshot is ahead":       {func(f forge) { f.snapshot(2, func(m *fsm.Machine) { m.Health.Why = "z"; m.Seq = 9 }) }, "behind the end", 9, 2},
	"a snapshot is one ahead":   {func(f forge) { f.snapshot(1, func(m *fsm.Machine) { m.Seq = 4 }) }, "not what its records add up to", 4, 1},
	"a snapshot lags": {func(f forge) {
		f.snapshot(1, func(m *fsm.Machine) { m.Health, m.Seq = fsm.Health{Level: fsm.HealthOK}, 4 })
	}, "make it Starting at record 4", 4, 1},
	"a snapshot is of no record": {func(f forge) { f.snapshot(2, func(m *fsm.Machine) { m.Seq = 6 }) }, "not this machine's", 6, 2},
	"a snapshot is another":      {func(f forge) { f.snapshot(1, func(m *fsm.Machine) { m.State = fsm.Running }) }, "not what its records add up to", 8, 1},
	"a snapshot is nonsense":     {func(f forge) { f.set(keySnapshot(one), []byte("x")) }, "snapshot:", 0, 1},
	"a snapshot is missing":      {func(f forge) { f.del(keySnapshot(one)) }, "make it unknown", 0, 1},
	"a snapshot of nobody":       {func(f forge) { f.snapshot(9, func(m *fsm.Machine) { m.ID, m.State, m.Seq = id(9), fsm.Created, 3 }) }, "not this machine's", 3, 9},
	"a snapshot buries one alive": {func(f forge) {
		f.snapshot(1, func(m *fsm.Machine) { *m = fsm.Machine{ID: id(1), State: fsm.Removed, Seq: 8} })
	}, "make it Removed", 8, 1},
	"a snapshot raises the dead": {func(f forge) {
		f.snapshot(3, func(m *fsm.Machine) { *m = fsm.Machine{ID: id(3), Name: "three", State: fsm.Created, Seq: 6} })
	}, "make it Created", 6, 3},
	"x/last has another hash":      {func(f forge) { f.end(func(e *end) { e.hash[3] ^= 1 }) }, "open refuses", 8, 0},
	"x/last is behind":             {func(f forge) { f.end(func(e *end) { e.seq-- }) }, "open refuses", 8, 0},
	"x/last is ahead":              {func(f forge) { f.end(func(e *end) { e.seq++ }) }, "open refuses", 8, 0},
	"x/last has a tail too late":   {func(f forge) { f.end(func(e *end) { e.tail = 10 }) }, "the tail starts at 10", 8, 0},
	"x/last has a tail of nothing": {func(f forge) { f.end(func(e *end) { e.tail = 0 }) }, "the tail starts at 0", 8, 0},
	"x/last is missing":            {func(f forge) { f.del(keyLast) }, "open refuses", 8, 0},
	"a record behind the end":      {func(f forge) { f.set(keyRecord(9), f.get(keyRecord(8))) }, "open refuses", 9, 0},
	"a request is lost":            {func(f forge) { f.del(r1) }, "is not kept", 2, 1},
	"a request led elsewhere": {func(f forge) {
		f.set(r1, encodeOutcome(Outcome{Seq: 3, Machine: id(2), Kind: fsm.KindCreated, Time: timeOf(f.get(keyRecord(3)))}, two))
	}, "led to another record", 3, 2},
	"a request was not asked":         {func(f forge) { f.set(keyRequest("uid:0", "r2"), f.get(r1)) }, "led to another record", 2, 1},
	"a request is nonsense":           {func(f forge) { f.set(r1, []byte("x")) }, "is not kept", 2, 1},
	"a name is lost":                  {func(f forge) { f.del(keyName("one", one)) }, "lacks it", 0, 1},
	"a name of a removed one is lost": {func(f forge) { f.del(keyName("three", three)) }, "lacks it", 0, 3},
	"a name is another's":             {func(f forge) { f.set(keyName("one", two), nil) }, "never had", 0, 2},
	"a checkpoint is another":         {func(f forge) { f.set(keyKept(7, one), f.get(keyKept(3, one))) }, "the checkpoint is not what", 7, 1},
	"a checkpoint lacks one":          {func(f forge) { f.del(keyKept(7, two)) }, "has 1 machines, and says 2", 7, 0},
	"a checkpoint has one more":       {func(f forge) { f.set(keyKept(7, three), f.get(keyKept(3, one))) }, "was not there", 7, 3},
	"a checkpoint of another day": {func(f forge) {
		v := f.get(keyCheckpoint(7))
		v[16] ^= 1
		f.set(keyCheckpoint(7), v)
	}, "other dates", 7, 0},
	"a checkpoint is nonsense": {func(f forge) { f.set(keyCheckpoint(7), []byte("x")) }, "checkpoint 7 can't be read", 7, 0},
	"a checkpoint is ahead":    {func(f forge) { f.set(keyCheckpoint(9), f.get(keyCheckpoint(7))) }, "behind the end", 9, 0},
	"a key of nobody":          {func(f forge) { f.set([]byte("z"), nil) }, "none of the journal's", 0, 0},
	"an odd key of a record":   {func(f forge) { f.set([]byte("e/xxxxxxxxxxxx"), nil) }, "none of the journal's", 0, 0},
	"an odd key of the index":  {func(f forge) { f.set([]byte("m/x"), nil) }, "none of the journal's", 0, 0},
}

// Verify finds every planted fault, and says which it is, and where. Where open
// refuses already, that is said, and nothing else can be.
func TestVerifyFindsPlantedFaults(t *testing.T) {
	for name, c := range planted {
		t.Run(name, func(t *testing.T) {
			fs := sample(t)
			db, err := pebble.Open("/j/db", options(t, fs).withDefaults().pebble(false))
			if err != nil {
				t.Fatal(err)
			}
			c.plant(forge{t, db})
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			j, err := Open("/j", quiet(options(t, fs)))
			if d, ok := errors.AsType[*DamagedError](err); ok && c.says == "open refuses" {
				if d.File != "/j/db" || d.Last != c.at {
					t.Errorf("refused as %+v, want record %d to be the last one there", d, c.at)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer closed(t, j)
			whose := ""
			if c.of != 0 {
				whose = id(c.of)
			}
			if f := says(t, j, c.says); f.Seq != c.at || f.Machine != whose {
				t.Errorf("it is put at record %d, to machine %q; want record %d, machine %q", f.Seq, f.Machine, c.at, whose)
			}
		})
	}
}

// says gives the fault of which Verify says that.
func says(t *testing.T, j *Journal, what string) Fault {
	t.Helper()
	rep, err := j.Verify(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range rep.Faults {
		if strings.Contains(f.What, what) {
			return f
		}
	}
	t.Fatalf("verify does not say %q: %+v", what, rep)
	return Fault{}
}

// What no engine writes, in a journal that is whole otherwise, is found as well.
func TestVerifyFindsHistoriesThatCantBe(t *testing.T) {
	lies := startRequested(1)
	lies.To = fsm.Running
	nobody := created(1, "one")
	nobody.Machine, nobody.To = "", fsm.Created
	for name, c := range map[string]struct {
		history []fsm.Record
		says    string
	}{
		"an illegal transition":        {[]fsm.Record{created(1, "one"), {Machine: id(1), Kind: fsm.KindReady, To: fsm.Running, Fact: &fsm.ReadyFact{}}}, "the lifecycle forbids"},
		"a life after the end":         {[]fsm.Record{created(1, "one"), removed(1), health(1, "x")}, "the lifecycle forbids"},
		"no beginning":                 {[]fsm.Record{startRequested(1)}, "the lifecycle forbids"},
		"created twice":                {[]fsm.Record{created(1, "one"), created(1, "one")}, "the lifecycle forbids"},
		"two machines with one name":   {[]fsm.Record{created(1, "one"), created(2, "ONE")}, "the name one is machine " + id(1)},
		"two machines with one CID":    {[]fsm.Record{created(1, "one"), created(4, "two"), startRequested(1), {Machine: id(4), Kind: fsm.KindStartRequested, CID: 4, Fact: &fsm.StartRequestedFact{}}}, "the CID 4 is machine " + id(1)},
		"a record leads elsewhere":     {[]fsm.Record{created(1, "one"), lies}, "not what Append writes"},
		"a machine's record of nobody": {[]fsm.Record{nobody}, "not what Append writes"},
	} {
		t.Run(name, func(t *testing.T) {
			j, err := forged(t, c.history)
			if err != nil {
				t.Fatal(err)
			}
			defer closed(t, j)
			says(t, j, c.says)
		})
	}
	j, err := forged(t, []fsm.Record{created(1, "one"), removed(1), created(2, "one"), startRequested(2)})
	if err != nil {
		t.Fatal(err)
	}
	sound(t, j) // so the forger is not at fault
	closed(t, j)
}

// forged writes records that nothing was held against, as Recover does.
func forged(t *testing.T, history []fsm.Record) (*Journal, error) {
	t.Helper()
	fs := vfs.NewCrashableMem()
	j := open(t, options(t, fs))
	b := newBulk(j)
	for i, r := range history {
		k, _ := parseMachine(r.Machine)
		if r.To == fsm.None {
			r.To = kinds[r.Kind]
		}
		r.Seq, r.Time = uint64(i+1), j.o.Now()
		v, err := encode(r, k, new(bytes.Buffer))
		if err != nil {
			return nil, err
		}
		if err := b.record(r, v); err != nil {
			return nil, err
		}
	}
	if err := b.finish(); err != nil {
		return nil, err
	}
	closed(t, j)
	return Open("/j", quiet(options(t, fs)))
}
