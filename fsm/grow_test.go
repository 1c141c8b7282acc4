package fsm

import (
	"slices"
	"testing"
)

// TestGrown: that a disk is to grow is owed until a record says that it has, or
// until the next launch has it from its start.
func TestGrown(t *testing.T) {
	m := Machine{ID: "m"}
	step := func(owes bool, has int64, f Fact) {
		t.Helper()
		next, err := m.Apply(Record{Seq: m.Seq + 1, Machine: "m", Kind: f.Kind(), Fact: f})
		if err != nil {
			t.Fatal(err)
		}
		m = next
		owed := slices.ContainsFunc(Owed(m), func(d Duty) bool { return d.Kind == DutyGrow })
		if owed != owes || m.LaunchSpec().Disk != has {
			t.Errorf("%T: owed %v, the VM has %d; want %v, %d", f, owed, m.LaunchSpec().Disk, owes, has)
		}
	}
	spec := func(cpus int, disk int64) Spec { return Spec{CPUs: cpus, Disk: disk} }
	step(false, 1, &CreatedFact{Spec: spec(1, 1)})
	step(false, 1, &StartRequestedFact{})
	step(false, 1, &DiskFormattedFact{Disk: DataDisk})
	step(false, 1, &SpecChangedFact{Spec: spec(1, 2)}) // it can't yet
	step(false, 1, &LaunchedFact{})
	step(true, 1, &ReadyFact{})
	before := m
	step(false, 2, &SpecChangedFact{Spec: spec(1, 2), Grown: 2})
	if m.Launch.Spec != nil || before.LaunchSpec().Disk != 1 {
		t.Errorf("the VM has all of it: %v; an older value has %d", m.Launch.Spec, before.LaunchSpec().Disk)
	}
	step(true, 2, &SpecChangedFact{Spec: spec(4, 3)})
	step(true, 2, &SpecChangedFact{Spec: spec(4, 4)})
	step(true, 3, &SpecChangedFact{Spec: spec(4, 4), Grown: 3})  // one that had begun before
	step(false, 4, &SpecChangedFact{Spec: spec(4, 4), Grown: 4}) // the CPUs wait
	if m.LaunchSpec().CPUs != 1 {
		t.Errorf("%d CPUs", m.LaunchSpec().CPUs)
	}
	step(true, 4, &SpecChangedFact{Spec: spec(4, 5)})
	step(false, 5, &ExitedFact{Cause: CauseKilled})
	if !m.Unclean() {
		t.Error("a VM that was killed ended cleanly")
	}
	step(false, 5, &StartRequestedFact{})
}
