package actorstest

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

// day is a host on which things happen for a day, and the lists that somebody
// saved meanwhile.
type day struct {
	*Scenario
	t     *testing.T
	rand  *rand.Rand
	saved []save

	engines int
}

type save struct {
	at   time.Time
	list *wire.Machines
}

func (d *day) ask(msg proto.Message) proto.Message {
	d.t.Helper()
	name := d.Ask("uid:0", msg)
	synctestWait()
	d.settle(nil)
	out := d.Answer(name)
	if out == nil {
		d.t.Fatalf("no answer to %T", msg)
	}
	return out
}

func (d *day) play(line string) {
	d.t.Helper()
	if _, err := d.Play(line); err != nil {
		d.t.Fatalf("%s: %v", line, err)
	}
}

// something happens.
func (d *day) something() {
	name := fmt.Sprint("m", d.rand.IntN(4))
	switch d.rand.IntN(16) {
	case 0:
		d.play("rm " + name + " force")
	case 1:
		d.play("create " + name + " restart=" + []string{"no", "on-failure", "always"}[d.rand.IntN(3)])
	case 2:
		d.play("stop " + name)
	case 3:
		d.play(fmt.Sprintf("set %s cpus=%d", name, 1+d.rand.IntN(4)))
	case 4:
		d.play("restart " + name)
	case 5, 6:
		what := []string{"poweroff", "panic", "crash", "killed", "hang", "reboot"}[d.rand.IntN(6)]
		if d.World.Happen(name, what) {
			d.settle(nil)
		}
	case 7:
		d.play("script " + name + " boot=" + []string{"", "hangs-once"}[d.rand.IntN(2)])
	case 8:
		d.engines++
		d.play("crash " + []string{"", "reboot"}[d.rand.IntN(2)])
	case 9, 10, 11:
		d.play(fmt.Sprintf("rename %s to=m%d", name, d.rand.IntN(6)))
	case 12:
		d.play(fmt.Sprintf("clone %s to=m%d", name, d.rand.IntN(6)))
	default:
		d.play("start " + name)
	}
}

// TestAtEqualsSavedLists: over a day, what at tells of a time is what list told
// at that time.
func TestAtEqualsSavedLists(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, err := NewScenario(nil)
		if err != nil {
			t.Fatal(err)
		}
		d := &day{Scenario: s, t: t, rand: rand.New(rand.NewPCG(1, 2))}
		defer func() {
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		}()
		d.marks = 64
		d.play("crash")
		end := d.Clock.Now().Add(24 * time.Hour)
		for d.Clock.Now().Before(end) {
			for range d.rand.IntN(6) {
				d.something()
			}
			d.Tick(10*time.Second+time.Duration(d.rand.IntN(600))*time.Second, nil)
			d.saved = append(d.saved, save{d.Clock.Now(), d.ask(&wire.ListMachines{}).(*wire.Machines)})
			d.Tick(time.Second, nil)
		}
		d.compare()
	})
}

// gone counts the machines of the saved lists that are not in the last one, and
// those that were listed by several names.
func (d *day) gone() (removed, renamed int) {
	last := d.saved[len(d.saved)-1].list.GetMachines()
	names := map[string]map[string]bool{}
	for _, s := range d.saved {
		for _, m := range s.list.GetMachines() {
			if names[m.GetId()] == nil {
				names[m.GetId()] = map[string]bool{}
			}
			names[m.GetId()][m.GetName()] = true
		}
	}
	for _, had := range names {
		if len(had) > 1 {
			renamed++
		}
	}
	return len(names) - len(last), renamed
}

func (d *day) compare() {
	machines := 0
	for i, s := range d.saved {
		got := d.ask(&wire.MachinesAt{UnixNanos: s.at.UnixNano()}).(*wire.PastMachines)
		if len(got.GetMachines()) != len(s.list.GetMachines()) {
			d.t.Fatalf("list %d of %s: %d machines, at tells %d", i, s.at, len(s.list.GetMachines()), len(got.GetMachines()))
		}
		for n, want := range s.list.GetMachines() {
			machines++
			if m := got.GetMachines()[n]; !proto.Equal(m, want) {
				d.t.Fatalf("list %d of %s, behind record %d:\n%v\nat tells\n%v", i, s.at, got.GetSeq(), want, m)
			}
			one := d.ask(&wire.MachinesAt{UnixNanos: s.at.UnixNano(), Name: want.GetName()}).(*wire.PastMachines)
			if m := one.GetMachines()[0]; !proto.Equal(m.GetSpec(), want.GetSpec()) || m.GetState() != want.GetState() || m.GetSeq() != want.GetSeq() {
				d.t.Fatalf("%s at %s: %v, list told %v", want.GetName(), s.at, m, want)
			}
		}
	}
	d.compareTimeline()
	d.compareStats()
	removed, renamed := d.gone()
	d.t.Logf("%d lists of %d machines, %d of them removed since and %d renamed, %d engines, %d records", len(d.saved), machines, removed, renamed, d.engines, d.journal.Last())
	if len(d.saved) < 100 || machines < 100 || removed < 5 || renamed < 2 || d.engines < 10 {
		d.t.Errorf("too little happened")
	}
}

// compareTimeline: at the times of the saved lists the timeline has the states
// that they tell, and no others.
func (d *day) compareTimeline() {
	for _, since := range []int{0, len(d.saved) / 2} {
		t := d.ask(&wire.DrawTimeline{SinceUnixNanos: d.saved[since].at.UnixNano()}).(*wire.Timeline)
		for _, s := range d.saved[since:] {
			drawn := map[string]string{}
			for _, l := range t.GetLives() {
				for _, span := range l.GetSpans() {
					if at := s.at.UnixNano(); span.GetFromUnixNanos() <= at && at < span.GetToUnixNanos() {
						drawn[l.GetMachine()] = span.GetState()
					}
				}
			}
			for _, m := range s.list.GetMachines() {
				if drawn[m.GetId()] != m.GetState() {
					d.t.Errorf("%s at %s: drawn as %q, it was %s", m.GetName(), s.at, drawn[m.GetId()], m.GetState())
				}
				delete(drawn, m.GetId())
			}
			if len(drawn) > 0 {
				d.t.Errorf("at %s: drawn, and not there: %v", s.at, drawn)
			}
		}
	}
	d.compareNames()
}

// compareNames: a timeline of one name has every machine that was ever listed by
// it, and each goes by the last name that it was listed by.
func (d *day) compareNames() {
	for _, one := range []string{"m0", "m1", "m5"} {
		had, last := map[string]bool{}, map[string]string{}
		for _, s := range d.saved {
			for _, m := range s.list.GetMachines() {
				last[m.GetId()] = m.GetName()
				had[m.GetId()] = had[m.GetId()] || m.GetName() == one
			}
		}
		for _, l := range d.ask(&wire.DrawTimeline{Names: []string{one}}).(*wire.Timeline).GetLives() {
			id := l.GetMachine()
			if name := last[id]; name != "" && name != l.GetName() {
				d.t.Errorf("asked for %s, drawn as %s is %s", one, l.GetName(), name)
			}
			delete(had, id)
		}
		for id, is := range had {
			if is {
				d.t.Errorf("%s was listed as %s, and is not drawn", id, one)
			}
		}
	}
}

// compareStats: every record is counted once, and every machine was always in
// one state.
func (d *day) compareStats() {
	s := d.ask(&wire.CountJournal{}).(*wire.JournalStats)
	sum := uint64(0)
	for _, n := range s.GetKinds() {
		sum += n
	}
	if last := d.journal.Last(); s.GetRecords() != last || sum != last || s.GetLast() != last || s.GetDiskBytes() == 0 || s.GetRecordBytes() == 0 {
		d.t.Errorf("%d records are counted, %d by kind, of %d: %v", s.GetRecords(), sum, last, s)
	}
	made := map[string]int64{}
	for _, m := range d.ask(&wire.ListMachines{}).(*wire.Machines).GetMachines() {
		made[m.GetId()] = m.GetCreatedUnixNanos()
	}
	if len(made) != len(s.GetMachines()) {
		d.t.Errorf("%d machines are counted, %d are there", len(s.GetMachines()), len(made))
	}
	for _, m := range s.GetMachines() {
		all := int64(0)
		for _, n := range m.GetNanos() {
			all += n
		}
		if age := d.Clock.Now().UnixNano() - made[m.GetMachine()]; all != age {
			d.t.Errorf("%s was in states for %d of %d ns", m.GetName(), all, age)
		}
	}
	if s.GetStarts() == 0 || len(s.GetStartsP()) != 4 {
		d.t.Errorf("no starts are counted: %v", s)
	}
}
