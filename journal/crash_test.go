package journal

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/arcboxlabs/arcbox-engine/fsm"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"pgregory.net/rapid"
)

// history appends a life in which every kind of batch occurs, and tells of
// each acknowledgement.
func history(t testing.TB, j *Journal, acked func(last uint64)) {
	for n := range 6 {
		acked(app(t, j, created(n, fmt.Sprintf("m%d", n)))[0].Seq)
		acked(app(t, j, startRequested(n), health(n, strings.Repeat("x", 300)), engineStarted())[2].Seq)
		exit := fsm.Record{Machine: id(n), Kind: fsm.KindExited, Fact: &fsm.ExitedFact{Cause: fsm.CauseCrashed}}
		acked(app(t, j, exit, removed(n))[1].Seq)
	}
}

// At every operation on the disk the power fails, with none, some or all of what
// was not synced on the disk: what was acknowledged is there, the rest is a
// prefix of what was asked for, batches are whole, and the next engine goes on.
//
// While it opens or closes, all or nothing: Pebble v2.1.7 leans there on two new
// entries of one directory reaching the disk in order, as they do on every
// filesystem that journals its directories.
func TestCrashAtEveryOperation(t *testing.T) {
	mem := vfs.NewCrashableMem()
	var acked atomic.Uint64
	var appending atomic.Bool
	var mu sync.Mutex // one crash at a time
	crashes := 0
	crash := func(errorfs.Op) error {
		mu.Lock()
		defer mu.Unlock()
		crashes++
		least, unsynced := acked.Load(), []int{0, 100}[crashes%2]
		if appending.Load() {
			unsynced = []int{0, 30, 70, 100}[crashes%4]
		}
		c := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: unsynced, RNG: rand.New(rand.NewPCG(uint64(crashes), 1))})
		j, err := Open("/j", options(t, c))
		if err != nil {
			t.Errorf("crash %d: %v", crashes, err)
			return nil
		}
		whole := map[uint64]bool{0: true, 1: true, 4: true}
		if last := j.Last(); last < least || !whole[last%6] {
			t.Errorf("crash %d: %d records are left of %d acknowledged", crashes, last, least)
		}
		sound(t, j)
		app(t, j, created(1000, "next"))
		closed(t, j)
		return nil
	}
	j := open(t, options(t, errorfs.Wrap(mem, errorfs.InjectorFunc(crash))))
	appending.Store(true)
	history(t, j, acked.Store)
	appending.Store(false)
	closed(t, j)
	if acked.Load() != 36 || crashes < 150 {
		t.Errorf("%d records, %d crashes", acked.Load(), crashes)
	}
}

// The power fails while many write and batches overlap.
func TestCrashAmongManyWriters(t *testing.T) {
	const writers, each = 8, 50
	fs := vfs.NewCrashableMem()
	j := open(t, options(t, fs))
	var acked [writers]atomic.Uint64 // records of each
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			app(t, j, created(w, fmt.Sprint("m", w)))
			for i := range each {
				acked[w].Store(uint64(i + 1))
				app(t, j, health(w, fmt.Sprint(i)))
			}
		})
	}
	for i := range 30 {
		var least [writers]uint64
		for w := range least {
			least[w] = acked[w].Load()
		}
		c := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rand.New(rand.NewPCG(uint64(i), 1))})
		k, err := Open("/j", options(t, c))
		if err != nil {
			t.Fatal(err)
		}
		sound(t, k)
		for w := range least {
			es, err := k.Query(Query{Machine: id(w)})
			if err != nil || uint64(len(es)) < least[w] {
				t.Errorf("crash %d: writer %d has %d records of %d, %v", i, w, len(es), least[w], err)
			}
		}
		closed(t, k)
	}
	all.Wait()
	sound(t, j)
	closed(t, j)
}

// A disk error on commit ends the process: nobody is told of a success.
func TestDiskErrorsEndTheEngine(t *testing.T) {
	for _, kind := range []errorfs.OpKind{errorfs.OpFileWrite, errorfs.OpFileSyncData, errorfs.OpFileWriteAt} {
		var armed atomic.Bool
		mem := vfs.NewCrashableMem()
		fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if armed.Load() && op.Kind == kind {
				return syscall.ENOSPC
			}
			return nil
		}))
		ended := make(chan error, 1)
		o := quiet(options(t, fs))
		o.Fatal = func(err error) {
			select {
			case ended <- err:
			default:
			}
			runtime.Goexit()
		}
		j := open(t, o)
		app(t, j, created(1, "one"))
		armed.Store(true)
		_, err := j.Append(health(1, "x"))
		if !errors.Is(err, ErrClosed) {
			t.Fatalf("%v: append returned %v", kind, err)
		}
		if err := <-ended; !errors.Is(err, syscall.ENOSPC) && !strings.Contains(err.Error(), "no space") {
			t.Errorf("%v: the engine ended with %v", kind, err)
		}
		armed.Store(false)
		j2, err := Open("/j", quiet(options(t, mem.CrashClone(vfs.CrashCloneCfg{}))))
		if err != nil {
			t.Fatal(err)
		}
		if j2.Last() < 1 {
			t.Errorf("%v: %d records are left", kind, j2.Last())
		}
		sound(t, j2)
		closed(t, j2)
		_ = j.Close() // a dead engine closes nothing; this is for the leak check
	}
}

func TestASlowDiskShows(t *testing.T) {
	var stuck atomic.Bool
	entered, free := make(chan struct{}), make(chan struct{})
	fs := errorfs.Wrap(vfs.NewCrashableMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileSyncData && stuck.CompareAndSwap(true, false) {
			close(entered)
			<-free
		}
		return nil
	}))
	c := &clock{now: time.Unix(1_700_000_000, 0)}
	o := options(t, fs)
	o.Now = c.Now
	j := open(t, o)
	app(t, j, created(1, "one"))
	stuck.Store(true)
	var wg sync.WaitGroup
	wg.Go(func() { app(t, j, health(1, "x")) })
	<-entered
	for j.syncing.Load() == nil { // the writer hands over while the sync is under way
		runtime.Gosched()
	}
	if j.DiskSlow() {
		t.Error("slow at once")
	}
	if es, err := j.Query(Query{}); err != nil || len(es) != 1 || j.Last() != 1 {
		t.Errorf("a record was seen before it was synced: %+v %v", es, err)
	}
	if m, _ := j.Machine(id(1)); m.Health.Why != "" {
		t.Errorf("a fold was seen before it was synced: %+v", m)
	}
	c.advance(6 * time.Second)
	if !j.DiskSlow() {
		t.Error("not slow after six seconds")
	}
	close(free)
	wg.Wait()
	if j.DiskSlow() {
		t.Error("slow for ever")
	}
	closed(t, j)
}

// The dumb fold: all machines ever, one record after the other.
type dumb struct {
	last     uint64
	machines map[string]fsm.Machine
}

// append takes all records or none, as they were written where they were.
func (d *dumb) append(asked, written []fsm.Record) bool {
	next := maps.Clone(d.machines)
	for i, r := range asked {
		r.To = kinds[r.Kind]
		if written != nil {
			r = written[i]
		}
		m, err := next[r.Machine].Apply(r)
		if err != nil {
			return false
		}
		next[r.Machine] = m
	}
	if written != nil {
		d.machines, d.last = next, written[len(written)-1].Seq
	}
	return true
}

// Random histories, reopened and crashed at random, against the dumb fold.
func TestRandomHistories(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		fs := vfs.NewCrashableMem()
		j := open(t, options(t, fs))
		d := &dumb{machines: map[string]fsm.Machine{}}
		appends := func(rt *rapid.T) {
			for range 3 {
				recs := rapid.SliceOfN(rapid.Custom(anyRecord), 1, 3).Draw(rt, "records")
				out, err := j.Append(recs...)
				if legal := d.append(recs, out); legal != (err == nil) || err != nil && !errors.Is(err, fsm.ErrIllegal) {
					rt.Fatalf("legal: %v, append: %v", legal, err)
				}
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"append": appends, "append more": appends, "append again": appends,
			"reopen": func(*rapid.T) {
				closed(t, j)
				j = open(t, options(t, fs))
			},
			"crash": func(*rapid.T) {
				c := fs.CrashClone(vfs.CrashCloneCfg{})
				closed(t, j)
				fs = c
				j = open(t, options(t, fs))
			},
			"": func(rt *rapid.T) { same(rt, j, d) },
		})
		sound(t, j)
		closed(t, j)
	})
}

func anyRecord(rt *rapid.T) fsm.Record {
	f := rapid.SampledFrom(facts[:len(facts)-2]).Draw(rt, "fact")
	r := recordOf(f)
	n := rapid.IntRange(1, 3).Draw(rt, "machine")
	r.Machine, r.Name, r.CID, r.Request = id(n), fmt.Sprint("web", n), uint32(9+n), "" // as the supervisor sees to
	return r
}

func same(rt *rapid.T, j *Journal, d *dumb) {
	if j.Last() != d.last {
		rt.Fatalf("%d records, want %d", j.Last(), d.last)
	}
	live := 0
	for id, want := range d.machines {
		if want.State != fsm.Removed {
			live++
		}
		got, ok := j.Machine(id)
		a, err := encodeSnapshot(want)
		b, err2 := encodeSnapshot(got)
		if !ok || err != nil || err2 != nil || !bytes.Equal(a, b) {
			rt.Fatalf("machine %s:\n got %+v\nwant %+v", id, got, want)
		}
	}
	if n := len(j.Machines()); n != live {
		rt.Fatalf("%d machines are listed, want %d", n, live)
	}
}
