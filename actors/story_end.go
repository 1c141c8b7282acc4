package actors

import (
	"fmt"
	"strings"
	"time"

	"github.com/arcboxlabs/arcbox-engine/fsm"
)

// stopped says how a machine's last launch ended.
func (t *story) stopped() string {
	e := t.m.Exit
	if e == nil {
		return ""
	}
	said := endings[e.Cause](t)
	s := fmt.Sprintf(" (%s): %s", e.Cause, said)
	if e.Detail != "" && e.Detail != poweredOff && !strings.Contains(said, e.Detail) {
		s += " (" + e.Detail + ")"
	}
	return s
}

// What drivers say of an end, and a cause says already.
const (
	panicked   = "the guest's kernel panicked"
	poweredOff = "the guest powered off"
)

// stop is the stop that the end answered, nil where nobody had asked for one.
func (t *story) stop() *fsm.Stop {
	if s := t.m.Stop; s != nil && t.m.Exit.Reason != "" {
		return s
	}
	return nil
}

// endings says what each cause means.
var endings = map[fsm.Cause]func(*story) string{
	fsm.CauseStopped: func(t *story) string {
		if s := t.stop(); s != nil {
			return asked(s) + ", and the guest shut down"
		}
		return "it was asked to stop, and did"
	},
	fsm.CauseKilled: (*story).killed,
	fsm.CausePoweredOff: func(t *story) string {
		return "the guest powered itself off" + t.before("nobody had asked the engine for that")
	},
	fsm.CauseCrashed: func(t *story) string {
		s := "its hypervisor ended by itself"
		switch n := t.m.Exit.Status; {
		case n < 0:
			s += ", by a signal"
		case n > 0:
			s += fmt.Sprintf(", with status %d", n)
		}
		return s + t.before("")
	},
	fsm.CauseGuestPanic: func(t *story) string {
		return t.panicked() + t.before("")
	},
	fsm.CauseLaunchFailed: func(t *story) string { return "its VM never came to be" + t.before("") },
	fsm.CauseAgentTimeout: func(t *story) string {
		s := t.m.Exit.Detail
		if s == "" {
			s = "the guest's agent did not answer in time"
		}
		return s + "; its VM was ended" + t.before("")
	},
	fsm.CauseSaved: func(t *story) string {
		if s := t.stop(); s != nil {
			return asked(s) + ", and its guest was saved"
		}
		return "its guest was saved"
	},
	fsm.CauseHostLost: func(t *story) string {
		return "the host itself went down, and took the VM along" + t.before("")
	},
}

func (t *story) killed() string {
	s := t.stop()
	switch {
	case s == nil:
		return "its VM was killed, and nobody had asked the engine for that"
	case s.Mode == fsm.StopKill:
		return asked(s) + ", and its VM was killed"
	}
	return asked(s) + ", and its VM was killed before the guest had shut down"
}

// before adds that the end had been asked for, or else that.
func (t *story) before(otherwise string) string {
	if s := t.stop(); s != nil {
		return "; " + asked(s) + " before"
	}
	if otherwise != "" {
		return "; " + otherwise
	}
	return ""
}

// panicked says how a guest's kernel did.
func (t *story) panicked() string {
	e := t.m.Exit
	if more, ok := strings.CutPrefix(e.Detail, panicked); ok && more != "" {
		return e.Detail
	}
	if line := panicLine(e.Tail); line != "" {
		return panicked + ", and said \"" + line + "\""
	}
	return panicked
}

// panicLine is what a kernel said when it panicked.
func panicLine(tail string) string {
	for line := range strings.Lines(tail) {
		if _, said, ok := strings.Cut(line, "Kernel panic - "); ok {
			return clip("Kernel panic - "+strings.TrimSpace(said), 160)
		}
	}
	return ""
}

// whileDown tells of an end that no engine saw.
func (t *story) whileDown() string {
	if t.found == nil {
		return ""
	}
	return fmt.Sprintf("No engine ran at that time: the one that was started at %s found it so", t.found.Time.Format(time.RFC3339))
}

// planned tells whether the restart policy starts it again.
func (t *story) planned() bool {
	e := t.m.Exit
	return e != nil && e.Plan.Start && t.m.Desired == fsm.DesiredRunning
}

// next tells what follows from an end, or why nothing does.
func (t *story) next() string {
	m := t.m
	if m.Exit == nil || m.Stray != nil {
		return ""
	}
	policy := m.Spec.Restart
	byHost := m.Exit.Reason == fsm.ReasonEngineStop || m.Exit.Reason == fsm.ReasonHostShutdown
	switch p := m.Exit.Plan; {
	case m.Stop != nil && m.Stop.Then == fsm.ThenStart:
		return "It is started again, as was asked"
	case m.Stop != nil && m.Stop.Then == fsm.ThenRemove:
		return "It is removed now, as was asked"
	case t.planned():
		when := "in " + max(0, p.NotBefore.Sub(t.now)).Round(time.Second).String()
		if t.s.Journal.DiskLow() {
			when = "when there is room"
		}
		return fmt.Sprintf("Its restart policy (%s) starts it again %s: attempt %d of %d", policy, when, p.Attempt, fsm.MaxAttempts)
	case p.Resting:
		return fmt.Sprintf("Its restart policy (%s) rests after %d failures in a row: it stays as it is until somebody starts it", policy, fsm.MaxAttempts)
	case m.Desired == fsm.DesiredStopped:
		return "It stays stopped until somebody starts it"
	case byHost && fsm.ShouldRestart(policy, m.Exit.Cause, m.Exit.Reason, fsm.Boot):
		return fmt.Sprintf("The next engine starts it again (restart policy %s)", policy)
	}
	return fmt.Sprintf("Its restart policy (%s) does not start it again", policy)
}
