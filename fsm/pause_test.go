package fsm

import (
	"slices"
	"testing"
)

// What is owed to a guest that is held still, from the wish to the fact and back.
func TestPause(t *testing.T) {
	m := Machine{ID: "a", State: Running, Spec: Spec{Image: "i"}, Launch: &Launch{ID: "l", Seq: 1, ReadySeq: 2}, Health: Health{Level: HealthOK}}
	seq := uint64(2)
	fold := func(f Fact) []DutyKind {
		t.Helper()
		seq++
		next, err := m.Apply(Record{Seq: seq, Machine: "a", Kind: f.Kind(), Fact: f, Principal: "uid:1"})
		if err != nil {
			t.Fatal(err)
		}
		m = next
		var kinds []DutyKind
		for _, d := range Owed(m) {
			kinds = append(kinds, d.Kind)
		}
		return kinds
	}
	told := func(l HealthLevel) *HealthChangedFact { return &HealthChangedFact{Health: Health{Level: l}} }
	free := []DutyKind{DutyWatch, DutyMonitor, DutyBooted}
	still, goesOn := []DutyKind{DutyWatch, DutyPause}, []DutyKind{DutyWatch, DutyResume}
	for _, step := range []struct {
		fact   Fact
		owed   []DutyKind
		paused bool // wanted
		held   bool
	}{
		{&PauseRequestedFact{}, still, true, false},
		{told(HealthDegraded), still, true, false},
		{told(HealthPaused), still, true, true},
		{told(HealthUnknown), still, true, true},
		{&ResumeRequestedFact{}, goesOn, false, false},
		{told(HealthUnknown), goesOn, false, false},
		{told(HealthPaused), goesOn, false, false},
		{told(HealthDegraded), free, false, false},
		{&ResumeRequestedFact{Why: "w"}, goesOn, false, false},
		{&PauseRequestedFact{}, still, true, false},
		{told(HealthPaused), still, true, true},
		{&StopRequestedFact{Mode: StopGraceful}, []DutyKind{DutyWatch, DutyStop, DutyResume}, false, false},
		{told(HealthOK), []DutyKind{DutyWatch, DutyStop}, false, false},
		{&StopAbandonedFact{}, free, false, false},
		{&PauseRequestedFact{}, still, true, false},
		{&StopRequestedFact{Mode: StopKill}, []DutyKind{DutyWatch, DutyStop}, true, false},
		{&ExitedFact{Cause: CauseKilled}, nil, false, false},
	} {
		owed := fold(step.fact)
		held := m.Launch != nil && m.Launch.Pause != nil && m.Launch.Pause.Held
		if !slices.Equal(owed, step.owed) || m.Paused() != step.paused || held != step.held {
			t.Errorf("behind %s %+v: owed %v, paused %v, held %v; want %+v", step.fact.Kind(), step.fact, owed, m.Paused(), held, step)
		}
	}
	if May(Starting, KindPauseRequested) || May(Stopping, KindResumeRequested) || May(Stopped, KindPauseRequested) {
		t.Error("what does not run can be paused")
	}
}
