package actorstest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/arcboxlabs/arcbox-engine/actors"
	"github.com/arcboxlabs/arcbox-engine/journal"
)

// TestWhyWithoutAnEngine: what is read of a journal that no engine has open says
// how it was, and claims nothing of VMs that nobody looks at.
func TestWhyWithoutAnEngine(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, err := NewScenario(nil)
		if err != nil {
			t.Fatal(err)
		}
		d := &day{Scenario: s, t: t}
		defer func() {
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		}()
		for _, line := range []string{"create lives", "start lives", "create idle"} {
			d.play(line)
		}
		dead := d.after(Aftermath{}, nil)
		full := func(string) (uint64, error) { return 1 << 20, nil }
		j, err := journal.OpenReadOnly(journalDir, journal.Options{FS: dead.disk, Now: d.Clock.Now, FreeSpace: full})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := j.Close(); err != nil {
				t.Error(err)
			}
		}()
		h := actors.NewHistory("/home", j, d.Clock, dead.World)
		for name, want := range map[string][]string{
			"lives": {"lives was Running when the last engine ended, since 20", "Its health is unknown: no engine runs", "arcbox engine start"},
			"idle":  {"idle has been Created", "The disk of /home is nearly full", "df -h /home", "arcbox start idle"},
		} {
			w, err := h.Why(name)
			if err != nil {
				t.Fatal(err)
			}
			said := w.GetSentence()
			for _, a := range w.GetAdvice() {
				said += "\n" + a.GetCommand()
			}
			for _, words := range want {
				if !strings.Contains(said, words) {
					t.Errorf("why %s: %q is not in it:\n%s", name, words, said)
				}
			}
			if health := fmt.Sprint(w.GetMachine().GetHealth()); name == "lives" && health != "unknown" {
				t.Errorf("its health is %q", health)
			}
		}
	})
}
