//go:build e2e

package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestRestoreBesideLivingVMs: a backup is made while others write, and put back
// while VMs run that it knows nothing of. None is harmed: the one that it knows
// is adopted, the one of a machine that it knows is a stray, and the one of a
// machine that it does not know is left alone, and told.
func TestRestoreBesideLivingVMs(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	t.Cleanup(func() { // what a journal that was put back does not know, no engine ends
		for _, h := range b.holders(vmhostProgram, "") {
			b.signal(h, syscall.SIGKILL)
		}
	})
	b.ok("engine", "start", "--allow-sim")
	for _, name := range []string{"known", "late"} {
		b.ok("create", name, "--memory", "128", "--cpus", "1")
	}
	b.ok("start", "known")
	seq := b.engine().Seq
	var load []*running
	for i := range 8 {
		load = append(load, b.begin("create", fmt.Sprint("m", i), "--backend", "sim"))
	}
	dir := filepath.Join(b.home, "backup")
	var made struct{ Last, Records uint64 }
	b.into(&made, "journal", "backup", dir)
	if made.Last < seq || made.Records != made.Last {
		t.Errorf("a backup of %+v, when %d records had been acknowledged", made, seq)
	}
	for _, r := range load {
		if got := r.wait(); got.code != 0 {
			t.Errorf("create beside a backup: exit %d, %s", got.code, got.err)
		}
	}
	b.ok("create", "unknown", "--memory", "128", "--cpus", "1")
	b.ok("start", "late", "unknown")
	live := map[string]machineView{}
	boots := map[string]string{}
	for _, name := range []string{"known", "late", "unknown"} {
		live[name], boots[name] = b.inspect(name), b.bootID(name)
	}

	b.ok("engine", "stop")
	has(t, "restore", b.ok("journal", "restore", dir), "the one before is in")
	b.ok("engine", "start", "--allow-sim")
	b.ok("wait", "known", "running")
	if b.bootID("known") != boots["known"] {
		t.Error("the machine that the backup knows was started anew")
	}
	for name, m := range live {
		b.only(vmhostProgram, m.ID)
		if got := len(b.holders(qemuProgram, m.ID)); got != 1 {
			t.Errorf("%d hypervisors of %s are left", got, name)
		}
	}
	listed := b.list()
	if late := listed["late"]; late.State != "Created" || !strings.Contains(late.HealthWhy, live["late"].Launch) {
		t.Errorf("late is %+v, want Created, and its VM a stray", late)
	}
	if _, is := listed["unknown"]; is || len(b.refused(t, 3, "inspect", "unknown").Message) == 0 {
		t.Error("a machine is listed that the backup can't know")
	}
	has(t, "why late", b.ok("journal", "why", "late"), "a VM runs that should not", "the journal does not know of it", "arcbox stop late")
	has(t, "doctor", b.run("doctor").out, "a VM of late runs", live["unknown"].ID+" is no machine's")
	b.refused(t, 7, "start", "late")
	b.ok("journal", "verify")

	b.ok("stop", "late")
	b.ok("start", "late")
	if b.bootID("late") == boots["late"] {
		t.Error("the stray was not ended")
	}
	// The journal that was replaced knows them all, and can be put back as well.
	b.ok("engine", "stop")
	kept, err := filepath.Glob(filepath.Join(b.home, "data", "journal.replaced-*"))
	if err != nil || len(kept) != 1 {
		t.Fatalf("the journals that were kept: %v, %v", kept, err)
	}
	b.ok("journal", "restore", kept[0])
	b.ok("engine", "start", "--allow-sim")
	b.ok("wait", "unknown", "running")
	if b.bootID("unknown") != boots["unknown"] {
		t.Error("a VM that no journal knew for a while was not left alone")
	}
	b.ok("journal", "verify")
}
