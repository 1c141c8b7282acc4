package actors

import (
	"strings"
	"testing"

	"github.com/arcboxlabs/arcbox-engine/fsm"
)

// TestCauses: what we did ourselves goes before what the VM host saw, but a
// kernel that panicked is why its agent was silent.
func TestCauses(t *testing.T) {
	graceful := fsm.Machine{Stop: &fsm.Stop{Mode: fsm.StopGraceful}}
	for name, c := range map[string]struct {
		m       fsm.Machine
		verdict fsm.Cause
		exit    *VMExit
		want    fsm.Cause
		detail  string
	}{
		"killed, nobody knows why":  {want: fsm.CauseKilled, detail: "without leaving a note"},
		"silent":                    {verdict: fsm.CauseAgentTimeout, exit: &VMExit{Cause: fsm.CauseKilled, Detail: "killed"}, want: fsm.CauseAgentTimeout, detail: "late"},
		"silent, its host gone too": {verdict: fsm.CauseAgentTimeout, want: fsm.CauseAgentTimeout, detail: "late"},
		"silent, for it panicked":   {verdict: fsm.CauseAgentTimeout, exit: &VMExit{Cause: fsm.CauseGuestPanic, Detail: "VFS"}, want: fsm.CauseGuestPanic, detail: "VFS; late"},
		"panicked":                  {exit: &VMExit{Cause: fsm.CauseGuestPanic, Detail: "VFS"}, want: fsm.CauseGuestPanic, detail: "VFS"},
		"asked to stop":             {m: graceful, exit: &VMExit{Cause: fsm.CausePoweredOff, Detail: "off"}, want: fsm.CauseStopped, detail: "off"},
		"asked to stop, crashed":    {m: graceful, exit: &VMExit{Cause: fsm.CauseCrashed, Detail: "boom"}, want: fsm.CauseCrashed, detail: "boom"},
	} {
		m := newMachine(&shared{}, c.m, false)
		if m.verdict = c.verdict; c.verdict != "" {
			m.relaunch = "late"
		}
		if cause, _, detail, _ := m.causeOf(c.exit); cause != c.want || !strings.Contains(detail, c.detail) {
			t.Errorf("%s: %s, %q, want %s, %q", name, cause, detail, c.want, c.detail)
		}
	}
}
