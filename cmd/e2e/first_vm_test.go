//go:build vm

package e2e

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestFirstMachine is a machine's whole life, seen from the command line: it
// runs, outlives its engine, stops, and the journal says by whose request.
func TestFirstMachine(t *testing.T) {
	b := newBed(t)
	b.ok("create", "a", "--memory", "512", "--cpus", "1")
	b.ok("start", "a")
	r := b.run("exec", "a", "--", "sh", "-c", "cat /proc/cmdline; exit 7")
	if r.code != 7 || !strings.Contains(r.out, "arcbox.name=a") {
		t.Errorf("exec: exit %d, %q", r.code, r.out)
	}
	boot := b.bootID("a")
	// The agent in there is of the build that lies here, by its own word.
	agent := b.beginProgram("arcbox-agent", "--version").wait()
	if said, want := b.ok("version"), "arcbox-agent   "+strings.TrimSpace(agent.out)+" (a)"; agent.code != 0 || !strings.Contains(said, want) || strings.Contains(said, "outdated") {
		t.Errorf("no %q in %s", want, said)
	}

	b.killEngine()
	if again := b.bootID("a"); again != boot {
		t.Errorf("boot id after the engine's death: %s, before: %s", again, boot)
	}

	b.ok("stop", "a")
	me := fmt.Sprintf("uid:%d", os.Getuid())
	want := []string{
		"created " + me, "start-requested " + me, "launched engine", "ready engine", "adopted engine",
		"stop-requested " + me, "exited engine",
	}
	var got []string
	for _, r := range b.journal("a") {
		got = append(got, r.Kind+" "+r.Principal)
	}
	if !slices.Equal(got, want) {
		t.Errorf("journal: %v, want %v", got, want)
	}
	b.ok("journal", "verify")
	b.ok("rm", "a")
	if r := b.run("inspect", "a"); r.code != 3 {
		t.Errorf("inspect of a removed machine: exit %d", r.code)
	}
}
