package journal

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"testing"

	"github.com/arcboxlabs/arcbox-engine/fsm"
	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"
)

// image is a copy of all files: what a person would have copied.
func image(t testing.TB, fs vfs.FS) *vfs.MemFS {
	t.Helper()
	c := vfs.NewCrashableMem()
	if ok, err := vfs.Clone(fs, c, "/j", "/j", vfs.CloneSync); !ok || err != nil {
		t.Fatal(ok, err)
	}
	return c
}

// newest is the newest file with an extension.
func newest(t testing.TB, fs vfs.FS, ext string) string {
	t.Helper()
	names, err := fs.List("/j/db")
	if err != nil {
		t.Fatal(err)
	}
	last := ""
	for _, n := range names {
		if path.Ext(n) == ext && n > last {
			last = n
		}
	}
	if last == "" {
		t.Fatalf("no %s in %v", ext, names)
	}
	return "/j/db/" + last
}

func change(t testing.TB, fs vfs.FS, name string, f func([]byte) []byte) {
	t.Helper()
	v, err := readFile(fs, name)
	if err == nil {
		err = writeFile(fs, name, f(v))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Wherever one byte of the log is flipped, in a journal that was new a moment
// ago, nothing that was acknowledged is missing without a word, and Recover
// saves a sound prefix.
func TestAFlippedByteInTheLog(t *testing.T) {
	const records = 120
	fs := vfs.NewCrashableMem()
	j := open(t, options(t, fs))
	app(t, j, created(1, "one"))
	for i := range records - 1 {
		app(t, j, health(1, fmt.Sprint(i)))
	}
	whole := image(t, fs)
	closed(t, j)
	log, err := readFile(whole, newest(t, whole, ".log"))
	if err != nil {
		t.Fatal(err)
	}
	damaged := 0
	for at := 0; at < len(log); at += 397 {
		c := image(t, whole)
		change(t, c, newest(t, c, ".log"), func(v []byte) []byte { v[at] ^= 0x40; return v })
		j, err := Open("/j", quiet(options(t, c)))
		if err == nil {
			if j.Last() != records {
				t.Errorf("byte %d: opened with %d records of %d", at, j.Last(), records)
			}
			sound(t, j)
			closed(t, j)
			continue
		}
		damaged++
		d, ok := errors.AsType[*DamagedError](err)
		if !ok || d.Head != records || !strings.Contains(err.Error(), "arcbox journal recover") || !strings.Contains(err.Error(), d.File) {
			t.Fatalf("byte %d: %v", at, err)
		}
		if damaged%10 != 1 {
			continue
		}
		s, err := Recover("/j", "/k", quiet(options(t, c)))
		if err != nil || s.Last != records || len(s.Lost) == 0 {
			t.Fatalf("byte %d: %+v, %v", at, s, err)
		}
	}
	if damaged < 50 {
		t.Errorf("only %d of the flipped bytes were found", damaged)
	}
}

// The end of the log is gone, and the head file knows.
func TestALostEnd(t *testing.T) {
	fs := vfs.NewCrashableMem()
	j := open(t, options(t, fs))
	app(t, j, created(1, "one"), created(2, "two"), created(3, "three"), removed(3))
	closed(t, j)
	j = open(t, options(t, fs))
	app(t, j, startRequested(1))
	app(t, j, startRequested(2))
	c := image(t, fs)
	closed(t, j)
	change(t, c, newest(t, c, ".log"), func(v []byte) []byte { return nil })

	for _, open := range []func(string, Options) (*Journal, error){Open, OpenReadOnly} {
		_, err := open("/j", quiet(options(t, c)))
		if d, ok := errors.AsType[*DamagedError](err); !ok || d.Head != 6 || d.Last != 4 {
			t.Fatalf("got %v", err)
		}
	}
	before := files(t, c, "/j")
	s, err := Recover("/j", "/k", quiet(options(t, c)))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(before, files(t, c, "/j")); d != "" {
		t.Errorf("recover changed the damaged journal: %s", d)
	}
	if s.Last != 6 || s.Records != 4 || len(s.Lost) != 2 || s.Lost[0].Seq != 5 || s.Lost[1].Seq != 6 {
		t.Errorf("salvaged %+v", s)
	}
	if _, err := Recover("/j", "/k", quiet(options(t, c))); err == nil {
		t.Error("recover wrote over what was there")
	}

	k, err := Open("/k", quiet(options(t, c)))
	if err != nil {
		t.Fatal(err)
	}
	sound(t, k)
	ms := k.Machines()
	if len(ms) != 2 || !ms[0].Damaged || !ms[1].Damaged || k.Last() != 6 {
		t.Errorf("nobody knows what happened to any machine, but: %+v", ms)
	}
	if es, err := k.Query(Query{After: 4}); err != nil || len(es) == 0 || !errors.Is(es[0].Unreadable, errLost) {
		t.Errorf("the lost ones are not shown: %+v %v", es, err)
	}
	repair(t, k, 1)
	closed(t, k)
	if k, err = Open("/k", quiet(options(t, c))); err != nil {
		t.Fatal(err)
	}
	if m, _ := k.Machine(id(1)); m.Damaged || m.State != fsm.Stopped || m.Name != "one" {
		t.Errorf("after repair: %+v", m)
	}
	if m, _ := k.Machine(id(3)); m.Damaged || m.State != fsm.Removed {
		t.Errorf("a removed machine: %+v", m)
	}
	sound(t, k)
	closed(t, k)
}

func repair(t testing.TB, j *Journal, n int) {
	t.Helper()
	app(t, j, fsm.Record{Machine: id(n), Kind: fsm.KindRepaired, Fact: &fsm.RepairedFact{Found: "free", Cause: fsm.CauseKilled}})
}

// poison replaces the stored value of a record.
func poison(t testing.TB, fs vfs.FS, seq uint64, value []byte) {
	t.Helper()
	db, err := pebble.Open("/j/db", options(t, fs).withDefaults().pebble(false))
	if err != nil {
		t.Fatal(err)
	}
	if value == nil {
		err = db.Delete(keyRecord(seq), pebble.Sync)
	} else {
		err = db.Set(keyRecord(seq), value, pebble.Sync)
	}
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

// A record that can't be read blocks its machine, and no other, until repair.
func TestQuarantine(t *testing.T) {
	for name, value := range map[string][]byte{"nonsense": []byte("nonsense"), "missing": nil} {
		t.Run(name, func(t *testing.T) {
			fs := vfs.NewCrashableMem()
			j := open(t, options(t, fs))
			app(t, j, created(1, "one"))
			app(t, j, created(2, "two"))
			app(t, j, startRequested(1))
			app(t, j, health(1, "later"))
			c := image(t, fs) // all of it is tail
			closed(t, j)
			poison(t, c, 3, value)
			poison(t, fs, 3, value)

			j, err := Open("/j", quiet(options(t, c)))
			if err != nil {
				t.Fatal(err)
			}
			one, _ := j.Machine(id(1))
			two, _ := j.Machine(id(2))
			if !one.Damaged || two.Damaged || one.Seq != 4 {
				t.Errorf("got %+v and %+v", one, two)
			}
			for _, q := range []Query{{}, {Machine: id(1)}, {Kinds: []fsm.Kind{fsm.KindStartRequested}}, {Newest: true, Limit: 2}} {
				es, err := j.Query(q)
				at := -1
				for i, e := range es {
					if e.Unreadable != nil {
						at = i
					}
				}
				if err != nil || at < 0 || es[at].Seq != 3 || es[at].Machine != id(1) {
					t.Errorf("%+v: %+v %v", q, es, err)
				}
			}
			rep, err := j.Verify(context.Background())
			if err != nil || len(rep.Faults) == 0 || rep.Faults[0].Seq != 3 && rep.Faults[0].Seq != 4 {
				t.Errorf("verify: %+v %v", rep, err)
			}
			repair(t, j, 1)
			if m, _ := j.Machine(id(1)); m.Damaged || m.State != fsm.Stopped || m.Name != "one" {
				t.Errorf("after repair: %+v", m)
			}
			closed(t, j)

			// What a snapshot holds is known, whatever became of the record since.
			if j, err = Open("/j", quiet(options(t, fs))); err != nil {
				t.Fatal(err)
			}
			if m, _ := j.Machine(id(1)); m.Damaged || m.State != fsm.Starting {
				t.Errorf("from a snapshot: %+v", m)
			}
			closed(t, j)
		})
	}
}

// Every kind of damage to what is stored is found by Verify, and Recover makes
// a sound journal of what is left.
func TestVerifyAndRecover(t *testing.T) {
	k1, _ := parseMachine(id(1))
	other := encoded(t, recordOf(facts[0]))
	seal(other, 4, plan.NotBefore, hash{})
	for name, damage := range map[string]func(db *pebble.DB) error{
		"a record is altered":  func(db *pebble.DB) error { return db.Set(keyRecord(4), other, nil) },
		"a record is missing":  func(db *pebble.DB) error { return db.Delete(keyRecord(2), nil) },
		"the last is altered":  func(db *pebble.DB) error { return db.Set(keyRecord(8), other, nil) },
		"a stretch is missing": func(db *pebble.DB) error { return db.DeleteRange(keyRecord(3), keyRecord(6), nil) },
		"index and record are missing": func(db *pebble.DB) error {
			return errors.Join(db.Delete(keyRecord(4), nil), db.Delete(keyIndex(k1, 4), nil))
		},
		"the index lacks one":      func(db *pebble.DB) error { return db.Delete(keyIndex(k1, 1), nil) },
		"the index has one more":   func(db *pebble.DB) error { return db.Set(keyIndex(k1, 2), nil, nil) },
		"a snapshot is nonsense":   func(db *pebble.DB) error { return db.Set(keySnapshot(k1), []byte("x"), nil) },
		"a snapshot is another":    func(db *pebble.DB) error { return db.Set(keySnapshot(k1), mustSnapshot(t), nil) },
		"an index key is nonsense": func(db *pebble.DB) error { return db.Set([]byte("m/x"), nil, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			fs := vfs.NewCrashableMem()
			j := open(t, options(t, fs))
			app(t, j, created(1, "one"), created(2, "two"))
			for i := range 6 {
				app(t, j, health(1+i%2, fmt.Sprint(i)))
			}
			closed(t, j)
			db, err := pebble.Open("/j/db", options(t, fs).withDefaults().pebble(false))
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(damage(db), db.Close()); err != nil {
				t.Fatal(err)
			}
			j, err = Open("/j", quiet(options(t, fs)))
			if err != nil {
				t.Fatal(err)
			}
			if rep, err := j.Verify(context.Background()); err != nil || len(rep.Faults) == 0 {
				t.Errorf("verify: %+v %v", rep, err)
			}
			closed(t, j)
			s, err := Recover("/j", "/k", quiet(options(t, fs)))
			if err != nil || s.Last != 8 || s.Records+uint64(len(s.Lost)) != 8 {
				t.Fatalf("recover: %+v %v", s, err)
			}
			k, err := Open("/k", quiet(options(t, fs)))
			if err != nil {
				t.Fatal(err)
			}
			rep, err := k.Verify(context.Background())
			if err != nil || rep.Last != 8 || rep.Lost != uint64(len(s.Lost)) {
				t.Errorf("verify what was saved: %+v %v", rep, err)
			}
			closed(t, k)
		})
	}
}

func mustSnapshot(t testing.TB) []byte {
	t.Helper()
	v, err := encodeSnapshot(fsm.Machine{ID: id(1), State: fsm.Running, Seq: 7})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// Blocks of a table are damaged: what they held is shown as unreadable, all
// else can be read.
func TestADamagedTable(t *testing.T) {
	fs := vfs.NewCrashableMem()
	j := open(t, options(t, fs))
	app(t, j, created(1, "one"))
	for i := range 3000 {
		app(t, j, health(1, fmt.Sprintf("%d %x", i, hash{byte(i), byte(i >> 4)})))
	}
	last := j.Last()
	if err := j.db.Flush(); err != nil {
		t.Fatal(err)
	}
	closed(t, j)
	table := newest(t, fs, ".sst")
	names, err := fs.List("/j/db")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names { // the biggest one has the records
		a, _ := fs.Stat("/j/db/" + n)
		b, _ := fs.Stat(table)
		if path.Ext(n) == ".sst" && a.Size() > b.Size() {
			table = "/j/db/" + n
		}
	}
	change(t, fs, table, func(v []byte) []byte { v[len(v)/3] ^= 1; return v })
	j, err = Open("/j", quiet(options(t, fs)))
	if err != nil {
		t.Fatal(err)
	}
	es, err := j.Query(Query{})
	bad := 0
	for i, e := range es {
		if e.Seq != uint64(i+1) {
			t.Fatalf("entry %d is %d", i, e.Seq)
		}
		if e.Unreadable != nil {
			bad++
		}
	}
	if err != nil || uint64(len(es)) != last || bad == 0 || bad > 1500 {
		t.Errorf("%d entries of %d, %d of them unreadable, %v", len(es), last, bad, err)
	}
	closed(t, j)
	s, err := Recover("/j", "/k", quiet(options(t, fs)))
	if err != nil || len(s.Lost) != bad || s.Last != last {
		t.Errorf("recover: %d lost, last %d, %v", len(s.Lost), s.Last, err)
	}
}

func TestMissingParts(t *testing.T) {
	for _, part := range []string{"/j/head", "/j/db"} {
		fs := vfs.NewCrashableMem()
		j := open(t, options(t, fs))
		app(t, j, created(1, "one"))
		closed(t, j)
		if err := fs.RemoveAll(part); err != nil {
			t.Fatal(err)
		}
		_, err := Open("/j", quiet(options(t, fs)))
		if d, ok := errors.AsType[*DamagedError](err); !ok || d.File != part {
			t.Errorf("without %s: %v", part, err)
		}
	}
}

// A head of another journal is not taken for this one's.
func TestAnotherHead(t *testing.T) {
	fs := vfs.NewCrashableMem()
	j := open(t, options(t, fs))
	app(t, j, created(1, "one"))
	app(t, j, created(2, "two"))
	closed(t, j)
	if err := createHead(fs, "/j", 1, hash{9}); err != nil {
		t.Fatal(err)
	}
	_, err := Open("/j", quiet(options(t, fs)))
	if _, ok := errors.AsType[*DamagedError](err); !ok {
		t.Errorf("got %v", err)
	}
}
