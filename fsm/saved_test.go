package fsm

import (
	"testing"
	"time"
)

// A guest that was saved goes on once, with what it was launched with, and a start that
// boots throws it away.
func TestSaved(t *testing.T) {
	old := Spec{CPUs: 1, Memory: 1 << 30, Image: "i"}
	start := Machine{
		ID: "a", State: Running, Spec: old, Desired: DesiredRunning, Health: Health{Level: HealthOK},
		Launch: &Launch{ID: "l", Seq: 1, LaunchedSeq: 2, ReadySeq: 3, Booted: true, Reboots: 2, Ready: &ReadyFact{}},
	}
	seq := uint64(3)
	fold := func(m Machine, facts ...Fact) Machine {
		t.Helper()
		for _, f := range facts {
			seq++
			r := Record{Seq: seq, Time: time.Unix(int64(seq), 0), Machine: "a", Kind: f.Kind(), Launch: "l", Fact: f, Reason: ReasonPerson}
			if err := m.Add(r); err != nil {
				t.Fatal(err)
			}
		}
		return m
	}
	bigger := old
	bigger.Memory *= 2

	m := fold(start, &StopRequestedFact{Mode: StopSave, NoKill: true}, &StopAbandonedFact{Why: "w"})
	if m.State != Running || m.Launch.Unsaved != "w" || m.Launch.Abandoned != "" || m.Health != m.WellHealth() || m.Desired != DesiredRunning {
		t.Errorf("behind a save that was not to be: %+v, %+v", m, m.Launch)
	}
	m = fold(m, &StopRequestedFact{Mode: StopSave, NoKill: true}, &ExitedFact{Cause: CauseSaved}, &SpecChangedFact{Spec: bigger})
	if m.Saved == nil || !m.Saved.Spec.Equal(old) || !m.StartSpec().Equal(old) || m.Desired != DesiredStopped || m.Unclean() {
		t.Fatalf("saved: %+v", m)
	}
	if PlanAfter(m, CauseSaved, Live, time.Time{}, Moment{}).Start {
		t.Error("a machine that somebody suspended is started again")
	}
	wanted := m
	wanted.Desired, wanted.Stop, wanted.Spec.Restart = DesiredRunning, nil, PolicyAlways
	if !PlanAfter(wanted, CauseSaved, Live, time.Time{}, Moment{}).Start {
		t.Error("one that was saved when nobody wanted that any more stays stopped")
	}
	goes := fold(m, &StartRequestedFact{Saved: true})
	if !goes.GoesOn() || !goes.LaunchSpec().Equal(old) || !goes.Launch.Booted || goes.Launch.Reboots != 2 {
		t.Errorf("it goes on: %+v", goes.Launch)
	}
	if failed := fold(goes, &ExitedFact{Cause: CauseLaunchFailed}); failed.Saved == nil || failed.GoesOn() {
		t.Error("a launch that came to nothing took the guest along")
	}
	if moved := fold(goes, &RelaunchedFact{Taken: true}); !moved.GoesOn() {
		t.Error("another CID, and it boots")
	}
	for name, f := range map[string]Fact{"launched": &LaunchedFact{}, "adopted": &AdoptedFact{}} {
		on := fold(goes, f)
		if on.Saved != nil || on.GoesOn() || on.Launch.GoesOn.IsZero() {
			t.Errorf("behind %s: %+v, %+v", name, on.Saved, on.Launch)
		}
		if again := fold(on, &RelaunchedFact{}); again.Launch.Booted || !again.Launch.GoesOn.IsZero() {
			t.Errorf("replaced behind %s: %+v", name, again.Launch)
		}
	}
	if fresh := fold(m, &StartRequestedFact{}); fresh.Saved != nil || fresh.GoesOn() || fresh.Launch.Booted || !fresh.LaunchSpec().Equal(bigger) {
		t.Errorf("it boots: %+v, %+v", fresh.Saved, fresh.Launch)
	}
	if gone := fold(m, &RemovedFact{}); gone.Saved != nil {
		t.Error("a machine that is no more has a guest")
	}
}
