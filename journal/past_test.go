package journal

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/arcboxlabs/arcbox-engine/fsm"
	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"
)

// lived is a journal with a history, and what was there behind each record.
type lived struct {
	*Journal
	o     Options
	fs    *vfs.MemFS
	clock *clock
	lists [][]fsm.Machine // by record
	times []time.Time
}

// live writes a history of machines that come and go, while the clock is set
// forth and back and the journal is opened anew now and then.
func live(t *testing.T, seed uint64, records int) *lived {
	t.Helper()
	l := &lived{fs: vfs.NewCrashableMem(), clock: &clock{now: time.Unix(1_700_000_000, 0)}}
	l.o = options(t, l.fs)
	l.o.Now, l.o.Checkpoint = l.clock.Now, 16
	l.Journal = open(t, l.o)
	r := rand.New(rand.NewPCG(seed, 7))
	states := map[int]fsm.State{}
	l.lists, l.times = append(l.lists, nil), append(l.times, time.Time{})
	for made := 0; len(l.lists) <= records; {
		l.clock.advance(time.Duration(r.IntN(60)) * time.Second)
		switch r.IntN(60) {
		case 0:
			l.clock.advance(-time.Duration(r.IntN(4000)) * time.Second)
		case 1:
			l.clock.advance(time.Duration(r.IntN(4000)) * time.Second)
		case 2:
			closed(t, l.Journal)
			l.Journal = open(t, l.o)
		}
		var rec fsm.Record
		n := r.IntN(made + 1)
		switch s := states[n]; {
		case n == made:
			if made++; len(states) > 12 {
				continue
			}
			rec, states[n] = created(n, fmt.Sprint("m", n)), fsm.Created
		case s == "":
			continue
		case s == fsm.Created && r.IntN(4) == 0:
			rec = removed(n)
			delete(states, n)
		case s == fsm.Created:
			rec, states[n] = startRequested(n), fsm.Starting
		case r.IntN(3) == 0:
			rec, states[n] = exited(n), fsm.Created
		default:
			rec = health(n, fmt.Sprint(r.Uint32()))
		}
		out := app(t, l.Journal, rec)
		l.lists, l.times = append(l.lists, l.Machines()), append(l.times, out[0].Time)
	}
	return l
}

func exited(n int) fsm.Record {
	return fsm.Record{Machine: id(n), Kind: fsm.KindExited, Principal: "engine", Fact: &fsm.ExitedFact{Cause: fsm.CauseStopped}}
}

// seqAt is what SeqAt promises, word by word.
func (l *lived) seqAt(at time.Time) (best uint64) {
	for seq := 1; seq < len(l.times); seq++ {
		if t := l.times[seq]; !t.After(at) && (best == 0 || !t.Before(l.times[best])) {
			best = uint64(seq)
		}
	}
	return best
}

func (l *lived) check(t *testing.T) {
	t.Helper()
	for seq, want := range l.lists {
		got, err := l.At(uint64(seq))
		if err != nil {
			t.Fatal(err)
		}
		if len(want) == 0 {
			want = nil
		}
		if d := cmp.Diff(want, got.Machines); d != "" || !got.Time.Equal(l.times[seq]) {
			t.Fatalf("behind record %d at %s, said to be of %s (-want +got):\n%s", seq, l.times[seq], got.Time, d)
		}
		for _, m := range want {
			if one, ok, err := l.MachineAt(m.ID, uint64(seq)); err != nil || !ok || cmp.Diff(m, one) != "" {
				t.Fatalf("machine %s behind record %d: %v %v\n%s", m.ID, seq, ok, err, cmp.Diff(m, one))
			}
		}
		for _, off := range []time.Duration{-time.Nanosecond, 0, time.Second} {
			at := l.times[seq].Add(off)
			if got, err := l.SeqAt(at); err != nil || got != l.seqAt(at) {
				t.Fatalf("record at %s: %d, %v, want %d", at, got, err, l.seqAt(at))
			}
		}
	}
}

// What was there behind each record is found again, whatever the clock did,
// with checkpoints, with half a one, and without.
func TestThePastIsFoundAgain(t *testing.T) {
	for seed := range uint64(4) {
		l := live(t, seed, 300)
		closed(t, l.Journal)
		l.Journal = open(t, l.o)
		l.check(t)
		sound(t, l.Journal)
		var marks []uint64
		if err := l.checkpoints(l.Last(), func(c checkpoint) error { marks = append(marks, c.seq); return nil }); err != nil || len(marks) < 3 {
			t.Fatalf("checkpoints at %v, %v", marks, err)
		}
		last := marks[len(marks)-1]
		if err := l.db.Delete(keyCheckpoint(last), pebble.NoSync); err != nil {
			t.Fatal(err)
		}
		l.check(t)
		sound(t, l.Journal) // as a crash leaves it
		if err := l.db.DeleteRange([]byte("h/"), []byte("h0"), pebble.NoSync); err != nil {
			t.Fatal(err)
		}
		l.check(t)
		closed(t, l.Journal)
	}
}

// A machine that was removed is known as that, and one that is yet to come is
// not.
func TestMachineAtItsEnds(t *testing.T) {
	j := open(t, options(t, vfs.NewCrashableMem()))
	defer closed(t, j)
	app(t, j, engineStarted(), created(1, "one"), removed(1))
	for seq, want := range []fsm.State{fsm.None, fsm.None, fsm.Created, fsm.Removed, fsm.Removed} {
		if m, ok, err := j.MachineAt(id(1), uint64(seq)); err != nil || m.State != want || ok != (want != fsm.None) {
			t.Errorf("behind %d: %v, %v, %v", seq, m, ok, err)
		}
	}
	if _, ok, err := j.MachineAt("x", 9); ok || err != nil {
		t.Error(ok, err)
	}
	if p, err := j.At(99); err != nil || p.Seq != 3 || len(p.Machines) != 0 {
		t.Error(p, err)
	}
}
