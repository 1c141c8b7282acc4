package fsm

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var write = flag.Bool("write", false, "write the diagram into ARCHITECTURE.md")

// Each pair of kind and state stands in one row at the most: looplab would let
// the last win, in silence.
func TestTransitionsAreUnambiguous(t *testing.T) {
	seen := map[string]bool{}
	for _, row := range Transitions {
		for _, from := range row.From {
			key := string(row.Kind) + " in " + string(from)
			if seen[key] {
				t.Errorf("%s has two rows", key)
			}
			seen[key] = true
		}
		if row.Doc == "" {
			t.Errorf("%s has no doc", row.Kind)
		}
	}
}

// Every kind of a machine's record has a row, a payload and a name of its own.
func TestEveryKindHasARowAndAFact(t *testing.T) {
	for kind, make := range facts {
		if got := make().Kind(); got != kind {
			t.Errorf("the payload of %s says it is of %s", kind, got)
		}
		if kind == KindEngineStarted || kind == KindEngineStopped {
			continue
		}
		if !slices.ContainsFunc(Transitions, func(r Transition) bool { return r.Kind == kind }) {
			t.Errorf("%s has no row in Table 1", kind)
		}
	}
	for _, row := range Transitions {
		if NewFact(row.Kind) == nil {
			t.Errorf("%s has no payload", row.Kind)
		}
	}
}

// From every state but Removed a machine can be brought to Removed.
func TestNeverStuck(t *testing.T) {
	reaches := map[State]bool{Removed: true}
	for range States {
		for _, row := range Transitions {
			for _, from := range row.From {
				if row.To != Stay && reaches[row.To] {
					reaches[from] = true
				}
			}
		}
	}
	for _, s := range States {
		if !reaches[s] {
			t.Errorf("from %s nothing leads to Removed", s)
		}
	}
	for _, s := range States {
		if s.Live() && (!May(s, KindExited) || !May(s, KindRepaired)) {
			t.Errorf("%s: a VM may exist, and its end can't be recorded", s)
		}
	}
}

// recordOf is a plausible record of a kind for a machine.
func recordOf(k Kind, m Machine, seq uint64) Record {
	to, err := Next(m.State, k)
	r := Record{Seq: seq, Time: time.Unix(int64(seq), 0), Machine: "m", Kind: k, Name: "web", Launch: "l", CID: 3, Fact: NewFact(k), Reason: ReasonPerson}
	if err == nil && Moves(k) {
		r.To = to
	}
	return r
}

// The looplab machine and the pure fold never disagree, whatever is thrown at
// them, and what is owed is defined in every state that can be reached.
func TestLifecycleEqualsFold(t *testing.T) {
	var kinds []Kind
	for k := range facts {
		kinds = append(kinds, k)
	}
	slices.Sort(kinds)
	rapid.Check(t, func(t *rapid.T) {
		l, fold := NewLifecycle(Machine{}), Machine{}
		for seq := range rapid.IntRange(1, 60).Draw(t, "records") {
			k := rapid.SampledFrom(kinds).Draw(t, "kind")
			r := recordOf(k, fold, uint64(seq+1))
			next, foldErr := fold.Apply(r)
			err := l.Apply(r)
			if (err == nil) != (foldErr == nil) {
				t.Fatalf("%s in %s: lifecycle %v, fold %v", k, fold.State, err, foldErr)
			}
			if err != nil {
				if !errors.Is(err, ErrIllegal) {
					t.Fatalf("refusal is no ErrIllegal: %v", err)
				}
				if l.Machine().Seq != fold.Seq {
					t.Fatalf("a refused record changed the machine")
				}
				continue
			}
			fold = next
			if l.Machine().State != fold.State || State(l.fsm.Current()) != fold.State {
				t.Fatalf("states differ: %s, %s, %s", l.Machine().State, l.fsm.Current(), fold.State)
			}
			owed := Owed(fold)
			if fold.State.Live() && len(owed) == 0 {
				t.Fatalf("%s owes nothing: it would be stuck", fold.State)
			}
			if fold.State.Live() != (fold.Launch != nil) {
				t.Fatalf("%s with launch %v", fold.State, fold.Launch)
			}
		}
	})
}

// A damaged machine takes the state that the next readable record says.
func TestDamagedResumes(t *testing.T) {
	m := Machine{ID: "m", Damaged: true}
	m, err := m.Apply(Record{Machine: "m", Kind: KindReady, To: Running, Name: "web", CID: 5, Seq: 9, Fact: &ReadyFact{}})
	if err != nil || m.State != Running || m.Name != "web" || len(Owed(m)) != 0 {
		t.Fatalf("%+v, %v", m, err)
	}
	m, err = m.Apply(Record{Machine: "m", Kind: KindRepaired, To: Stopped, Name: "web", Seq: 10, Fact: &RepairedFact{}})
	if err != nil || m.Damaged || m.State != Stopped {
		t.Fatalf("%+v, %v", m, err)
	}
}

func TestRepairIsTotal(t *testing.T) {
	for _, s := range States {
		for _, f := range Findings {
			if got := Repair(s, f); got == "" {
				t.Errorf("%s, %s: no remedy", s, f)
			}
		}
		if s.Live() && Repair(s, Free) != RemedyRepaired {
			t.Errorf("%s with a free lock: %s", s, Repair(s, Free))
		}
	}
}

func TestRepairCause(t *testing.T) {
	for _, c := range []struct {
		launch *Launch
		want   Cause
	}{
		{&Launch{Boot: "old", LaunchedSeq: 4}, CauseHostLost},
		{&Launch{Boot: "now"}, CauseLaunchFailed},
		{&Launch{Boot: "now", LaunchedSeq: 4}, CauseKilled},
		{nil, CauseLaunchFailed},
	} {
		if got := RepairCause(Machine{Launch: c.launch}, "now"); got != c.want {
			t.Errorf("%+v: %s, want %s", c.launch, got, c.want)
		}
	}
}

func TestRestartPolicy(t *testing.T) {
	for _, c := range []struct {
		policy Policy
		cause  Cause
		stop   Reason
		when   When
		want   bool
	}{
		{PolicyNo, CauseCrashed, "", Live, false},
		{PolicyOnFailure, CauseCrashed, "", Live, true},
		{PolicyOnFailure, CauseHostLost, "", Boot, true},
		{PolicyOnFailure, CausePoweredOff, "", Live, false},
		{PolicyOnFailure, CausePoweredOff, "", Boot, false},
		{PolicyOnFailure, CauseKilled, ReasonEngineStop, Boot, false},
		{PolicyAlways, CausePoweredOff, "", Live, true},
		{PolicyAlways, CauseStopped, ReasonEngineStop, Live, false},
		{PolicyAlways, CauseStopped, ReasonEngineStop, Boot, true},
		{PolicyAlways, CauseStopped, ReasonHostShutdown, Boot, true},
	} {
		if got := ShouldRestart(c.policy, c.cause, c.stop, c.when); got != c.want {
			t.Errorf("%s, %s, stop %q, %s: %t", c.policy, c.cause, c.stop, c.when, got)
		}
	}
}

func TestPlanBacksOffAndRests(t *testing.T) {
	m := Machine{Desired: DesiredRunning, Spec: Spec{Restart: PolicyOnFailure}, Launch: &Launch{}}
	now, at := time.Unix(100, 0), Moment{"b", time.Hour}
	last := time.Duration(0)
	for n := 1; n <= MaxAttempts; n++ {
		p := PlanAfter(m, CauseCrashed, Live, now, at)
		if !p.Start || p.Attempt != n || p.NotBefore.Sub(now) < last {
			t.Fatalf("attempt %d: %+v", n, p)
		}
		last = p.NotBefore.Sub(now)
		m.Launch = &Launch{Attempt: p.Attempt}
	}
	if p := PlanAfter(m, CauseCrashed, Live, now, at); p.Start || !p.Resting {
		t.Errorf("after %d failures: %+v", MaxAttempts, p)
	}
	m.Launch.Ready = &ReadyFact{At: at.Add(-StableAfter)}
	if p := PlanAfter(m, CauseCrashed, Live, now, at); !p.Start || p.Attempt != 1 {
		t.Errorf("after a stable launch: %+v", p)
	}
	m.Desired = DesiredStopped
	if p := PlanAfter(m, CauseCrashed, Live, now, at); p.Start {
		t.Errorf("a person wants it stopped, and it starts: %+v", p)
	}
}

// The diagram in ARCHITECTURE.md is the table's.
func TestDiagram(t *testing.T) {
	const file, begin, end = "../ARCHITECTURE.md", "<!-- lifecycle: generated from fsm.Transitions -->\n", "<!-- end -->"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	diagram, err := Mermaid()
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(text), begin)
	_, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the diagram", file)
	}
	want := head + begin + "```mermaid\n" + strings.TrimSpace(diagram) + "\n```\n" + end + tail
	if *write {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if string(text) != want {
		t.Errorf("%s does not show Table 1: go test ./fsm -run TestDiagram -write", file)
	}
}

// A VM keeps what it was launched with, also where its launch is replaced; the
// next start has what was asked for last.
func TestSpecChanged(t *testing.T) {
	m := Machine{ID: "m"}
	step := func(f Fact) {
		t.Helper()
		next, err := m.Apply(Record{Seq: m.Seq + 1, Machine: "m", Kind: f.Kind(), Fact: f})
		if err != nil {
			t.Fatal(err)
		}
		m = next
	}
	cpus := func(spec, launch int) {
		t.Helper()
		if m.Spec.CPUs != spec || m.LaunchSpec().CPUs != launch {
			t.Errorf("%s: %d CPUs, launched with %d; want %d and %d", m.State, m.Spec.CPUs, m.LaunchSpec().CPUs, spec, launch)
		}
	}
	step(&CreatedFact{Spec: Spec{CPUs: 1}})
	step(&SpecChangedFact{Spec: Spec{CPUs: 2}})
	cpus(2, 2)
	step(&StartRequestedFact{})
	before := m
	step(&SpecChangedFact{Spec: Spec{CPUs: 3}})
	step(&SpecChangedFact{Spec: Spec{CPUs: 4}})
	cpus(4, 2)
	step(&RelaunchedFact{})
	cpus(4, 2)
	if before.LaunchSpec().CPUs != 2 || before.Launch.Spec != nil {
		t.Error("an older value of the machine has changed")
	}
	step(&ReadyFact{})
	step(&ExitedFact{})
	cpus(4, 4)
	step(&StartRequestedFact{})
	cpus(4, 4)
}

// A set-up is owed while its machine runs and its round has no result, and its
// failure shows in the health of a machine that is well otherwise.
func TestProvisionIsOwedOnce(t *testing.T) {
	m := Machine{ID: "m"}
	spec := Spec{Provision: &Provision{Kind: ProvisionScript, Digest: "d"}}
	for i, c := range []struct {
		fact   Fact
		owed   bool
		health HealthLevel
	}{
		{&CreatedFact{Spec: spec}, false, HealthOK},
		{&StartRequestedFact{}, false, HealthOK},
		{&ReadyFact{}, true, HealthOK},
		{&ExitedFact{}, false, HealthOK},
		{&StartRequestedFact{}, false, HealthOK},
		{&ReadyFact{}, true, HealthOK},
		{&ProvisionedFact{Status: 3}, false, HealthDegraded},
		{&HealthChangedFact{Health: Health{Level: HealthUnknown, Why: "mute"}}, false, HealthUnknown},
		{&SpecChangedFact{Spec: Spec{Provision: &Provision{Kind: ProvisionScript, Digest: "d", Round: 1}}}, true, HealthUnknown},
		{&HealthChangedFact{Health: Health{Level: HealthOK}}, true, HealthOK},
		{&ProvisionedFact{Round: 1, Interrupted: true}, false, HealthDegraded},
		{&SpecChangedFact{Spec: Spec{Provision: &Provision{Kind: ProvisionScript, Digest: "d", Round: 2}}}, true, HealthOK},
		{&StopRequestedFact{}, false, HealthOK},
		{&ExitedFact{}, false, HealthOK},
		{&StartRequestedFact{}, false, HealthOK},
		{&ReadyFact{}, true, HealthOK},
		{&ProvisionedFact{Round: 2}, false, HealthOK},
		{&ExitedFact{}, false, HealthOK},
		{&StartRequestedFact{}, false, HealthOK},
		{&ReadyFact{}, false, HealthOK},
	} {
		next, err := m.Apply(Record{Seq: m.Seq + 1, Machine: "m", Kind: c.fact.Kind(), Fact: c.fact})
		if err != nil {
			t.Fatal(err)
		}
		m = next
		owed := slices.ContainsFunc(Owed(m), func(d Duty) bool { return d.Kind == DutyProvision })
		if owed != c.owed || m.Health.Level != c.health {
			t.Errorf("step %d, behind %s: owed %v, health %+v; want %v, %s", i, c.fact.Kind(), owed, m.Health, c.owed, c.health)
		}
	}
	for want, f := range map[string]ProvisionedFact{
		"done": {}, "exit status 3": {Status: 3}, "signal 9 ended it": {Signal: 9}, "why": {Error: "why"},
	} {
		if f.What() != want || f.OK() != (want == "done") {
			t.Errorf("%+v: %q, %v", f, f.What(), f.OK())
		}
	}
	if _, err := m.Apply(Record{Seq: 99, Machine: "m", Kind: KindExited, Fact: &ExitedFact{}}); err != nil {
		t.Fatal(err)
	}
	for _, s := range States {
		if May(s, KindProvisioned) != (s == Running) {
			t.Errorf("provisioned in %s", s)
		}
	}
}

// Behind a reboot the init is awaited again, by another duty than before; a record
// of the formats that did not say so changes nothing.
func TestBootedIsOwedAgain(t *testing.T) {
	m := Machine{ID: "m"}
	for i, c := range []struct {
		fact Fact
		owed uint64 // the record that owes it; 0 = none does
	}{
		{&CreatedFact{Spec: Spec{Image: "i"}}, 0},
		{&StartRequestedFact{}, 0},
		{&ReadyFact{}, 3},
		{&RebootedFact{Anew: true}, 4},
		{&BootedFact{Init: "/sbin/init"}, 0},
		{&RebootedFact{}, 0},
		{&RebootedFact{Times: 2, Anew: true}, 7},
		{&BootedFact{}, 0},
		{&StopRequestedFact{NoKill: true}, 0},
		{&RebootedFact{Anew: true}, 0},
		{&StopAbandonedFact{}, 10},
		{&BootedFact{Init: "/sbin/init"}, 0},
		{&ExitedFact{}, 0},
		{&StartRequestedFact{}, 0},
		{&ReadyFact{}, 15},
	} {
		before := m
		next, err := m.Apply(Record{Seq: m.Seq + 1, Time: time.Unix(int64(i), 0), Machine: "m", Kind: c.fact.Kind(), Fact: c.fact})
		if err != nil {
			t.Fatal(err)
		}
		m = next
		var owed uint64
		for _, d := range Owed(m) {
			if d.Kind == DutyBooted {
				owed = d.Seq
			}
		}
		if owed != c.owed {
			t.Errorf("step %d, behind %s: record %d owes it, want %d", i, c.fact.Kind(), owed, c.owed)
		}
		if f, ok := c.fact.(*RebootedFact); ok && (m.Launch.BootedAfter == nil && m.Launch.BootedTime.IsZero()) != (f.Anew || before.Launch.BootedAfter == nil) {
			t.Errorf("step %d: %+v", i, m.Launch)
		}
	}
	if m.Launch.Reboots != 0 {
		t.Errorf("a new launch has %d reboots", m.Launch.Reboots)
	}
}

// Add is Apply in place; what others were given of the machine before stays theirs.
func TestAddEqualsApply(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var m, own Machine
		for i := range rapid.IntRange(1, 60).Draw(t, "records") {
			r := recordOf(rapid.SampledFrom(Transitions).Draw(t, "kind").Kind, m, uint64(i+1))
			before, text := own, all(own)
			next, err := m.Apply(r)
			if got := own.Add(r); (got == nil) != (err == nil) {
				t.Fatalf("%s: %v in place, %v otherwise", r.Kind, got, err)
			}
			m = next
			if all(own) != all(m) {
				t.Fatalf("%s made it %s in place, %s otherwise", r.Kind, all(own), all(m))
			}
			if all(before) != text {
				t.Fatalf("%s changed what was given away before: %s, it was %s", r.Kind, all(before), text)
			}
		}
	})
}

// all is all of a machine, what its pointers lead to as well.
func all(m Machine) string {
	b, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return string(b)
}
