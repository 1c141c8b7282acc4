package actors

import (
	"fmt"
	"time"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/fsm"
	"github.com/arcboxlabs/arcbox-engine/journal"
)

// chainMost is how many records an explanation shows.
const chainMost = 30

// why explains a machine's state: since when, by whose request, what followed
// from it, what is owed by when, and what a person can do.
func why(s *shared, name string) (any, error) {
	m, err := anyMachine(s, name)
	if err != nil {
		return nil, err
	}
	entries, err := s.Journal.Query(journal.Query{Machine: m.ID, Limit: 4 * chainMost, Newest: true})
	if err != nil {
		return nil, fmt.Errorf("why: %w", err)
	}
	out := &wire.Why{Machine: machineOnWire(s, m, true), Sentence: sentence(s.Clock.Now(), m), Can: can(m)}
	for _, e := range chain(entries) {
		out.Chain = append(out.Chain, recordOnWire(s, e))
	}
	return out, nil
}

// chain is the part of a machine's history that led to its state: from its
// last start on, or from its creation.
func chain(entries []journal.Entry) []journal.Entry {
	from := 0
	for i, e := range entries {
		if e.Kind == fsm.KindCreated || e.Kind == fsm.KindStartRequested {
			from = i
		}
	}
	entries = entries[from:]
	return entries[max(0, len(entries)-chainMost):]
}

// sentence says it in words.
func sentence(now time.Time, m *Seen) string {
	s := fmt.Sprintf("%s has been %s for %s", m.Name, m.State, now.Sub(m.Since).Round(time.Second))
	if f := sentences[m.State]; f != nil {
		s += f(m)
	}
	if note := pending(m.Machine); note != "" {
		s += " Its spec was changed since: " + note + "."
	}
	if h := m.health(); h.Level != fsm.HealthOK {
		s += fmt.Sprintf(" Its health is %s: %s.", h.Level, h.Why)
	}
	return s
}

var sentences = map[fsm.State]func(*Seen) string{
	fsm.Created: func(*Seen) string { return ": it was created and never started." },
	fsm.Starting: func(m *Seen) string {
		l := m.Launch
		s := fmt.Sprintf(": %s asked for its start (%s)", l.Principal, l.Reason)
		if l.LaunchedSeq == 0 {
			return s + "; its VM host is being started."
		}
		if l.Relaunch > 0 {
			s += "; its first launch was replaced: " + l.Relaunched
		}
		return s + fmt.Sprintf("; its VM runs, and its agent has %s from there to answer.", l.Allowed)
	},
	fsm.Running: func(m *Seen) string {
		return fmt.Sprintf(": %s asked for its start (%s), and its agent answered.", m.Launch.Principal, m.Launch.Reason)
	},
	fsm.Stopping: func(m *Seen) string {
		s := fmt.Sprintf(": %s asked for its end (%s, %s)", m.Stop.Principal, m.Stop.Reason, m.Stop.Mode)
		if m.Stop.Then != fsm.ThenNothing {
			s += ", then " + string(m.Stop.Then)
		}
		return s + "."
	},
	fsm.Stopped: func(m *Seen) string { return stoppedSentence(m) },
	fsm.Removed: func(*Seen) string { return ": it was removed." },
}

// meanings says what a cause means.
var meanings = map[fsm.Cause]string{
	fsm.CauseStopped:      "it was asked to stop, and did",
	fsm.CauseKilled:       "its VM was killed",
	fsm.CausePoweredOff:   "the guest powered itself off",
	fsm.CauseCrashed:      "its hypervisor ended by itself",
	fsm.CauseGuestPanic:   "the guest's kernel panicked",
	fsm.CauseLaunchFailed: "its VM never came to be",
	fsm.CauseAgentTimeout: "its agent did not answer in time, and the VM was ended",
	fsm.CauseHostLost:     "the host itself went down",
}

func stoppedSentence(m *Seen) string {
	e := m.Exit
	if e == nil {
		return "."
	}
	s := fmt.Sprintf(" (%s): %s", e.Cause, meanings[e.Cause])
	if m.Stop != nil && m.Stop.Seq > 0 && e.Reason != "" {
		s += fmt.Sprintf("; %s had asked for its end (%s)", m.Stop.Principal, e.Reason)
	}
	if e.Detail != "" {
		s += " (" + e.Detail + ")"
	}
	switch {
	case e.Plan.Start && m.Desired == fsm.DesiredRunning:
		s += fmt.Sprintf(". It is started again by its restart policy: attempt %d", e.Plan.Attempt)
	case e.Plan.Resting:
		s += fmt.Sprintf(". Its restart policy rests after %d failures in a row", fsm.MaxAttempts)
	}
	return s + "."
}

// can lists what a person can do about a machine now.
func can(m *Seen) []string {
	var out []string
	for _, c := range []struct {
		v       verb
		command string
	}{
		{verbStart, "arcbox start %s"}, {verbStop, "arcbox stop %s"}, {verbStop, "arcbox stop --kill %s"},
		{verbOpen, "arcbox exec %s -- sh"}, {verbLog, "arcbox logs %s"}, {verbRemove, "arcbox rm %s"},
	} {
		if !offers(c.v, m) {
			continue
		}
		out = append(out, fmt.Sprintf(c.command, m.Name))
	}
	return out
}

// offers leaves out what would do nothing.
func offers(v verb, m *Seen) bool {
	if m.State == fsm.Removed || admissions[v][m.State] == nil {
		return false
	}
	live := m.State.Live()
	switch v {
	case verbStart:
		return !live && m.Stray == nil && !m.Damaged
	case verbStop:
		return live || m.Stray != nil || len(fsm.Owed(m.Machine)) > 0
	case verbRemove:
		return !live
	case verbOpen:
		return live
	case verbLog:
		return m.Dir
	case verbCreate, verbRestart, verbSet, verbAwait:
	}
	return true
}
