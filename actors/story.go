package actors

import (
	"fmt"
	"strings"
	"time"

	"github.com/arcboxlabs/arcbox-engine/fsm"
	"github.com/arcboxlabs/arcbox-engine/journal"
)

// story is what is known of how a machine came to its state.
type story struct {
	s     *shared
	m     *Seen
	now   time.Time
	chain []journal.Entry // its records since its last start
	// found is the engine-started behind which its end was found, where that
	// came to pass while no engine ran.
	found *journal.Entry
}

// foundWithin bounds how far before a machine's end an engine's start is looked
// for: a booting engine looks at its machines first of all.
const foundWithin = 1024

func newStory(s *shared, m *Seen, chain []journal.Entry) (*story, error) {
	t := &story{s: s, m: m, now: s.Clock.Now(), chain: chain}
	if m.Exit == nil || m.State.Live() {
		return t, nil
	}
	behind := uint64(0) // its last record before the end
	for _, e := range chain {
		if e.Seq < m.Exit.Seq {
			behind = e.Seq
		}
	}
	if m.Exit.Seq > foundWithin {
		behind = max(behind, m.Exit.Seq-foundWithin)
	}
	started, err := s.Journal.Query(journal.Query{
		Engine: true, After: behind, Before: m.Exit.Seq, Kinds: []fsm.Kind{fsm.KindEngineStarted}, Limit: 1, Newest: true,
	})
	for _, e := range started {
		if e.Unreadable == nil {
			t.found = &e
		}
	}
	return t, err
}

// tell says it in words.
func (t *story) tell() string {
	m := t.m
	s := fmt.Sprintf("%s has been %s for %s", m.Name, m.State, t.now.Sub(m.Since).Round(time.Second))
	if m.Unwatched {
		s = fmt.Sprintf("%s was %s when the last engine ended, since %s", m.Name, m.State, m.Since.Format(time.RFC3339))
	}
	if f := sentences[m.State]; f != nil {
		s += f(t) + "."
	}
	for _, more := range afterwards[m.State] {
		if text := more(t); text != "" {
			s += " " + text + "."
		}
	}
	return s
}

var sentences = map[fsm.State]func(*story) string{
	fsm.Created:  (*story).created,
	fsm.Starting: (*story).starting,
	fsm.Running:  (*story).running,
	fsm.Stopping: func(t *story) string { return ": " + asked(t.m.Stop) + t.deadline() },
	fsm.Stopped:  (*story).stopped,
	fsm.Removed:  (*story).removed,
}

// afterwards are the sentences behind the first one.
var afterwards = map[fsm.State][]func(*story) string{
	fsm.Created:  {(*story).renamed, (*story).health, (*story).disk},
	fsm.Starting: {(*story).changed, (*story).denied, (*story).health},
	fsm.Running:  {(*story).diskFound, (*story).held, (*story).unsaved, (*story).changed, (*story).setUp, (*story).denied, (*story).health},
	fsm.Stopping: {(*story).changed, (*story).denied, (*story).health},
	fsm.Stopped:  {(*story).whileDown, (*story).next, (*story).saved, (*story).renamed, (*story).health, (*story).disk},
}

// somebody is a principal in words.
func somebody(principal string) string {
	switch uid, ok := strings.CutPrefix(principal, "uid:"); {
	case uid == "0" && ok:
		return "root"
	case ok:
		return "user " + uid
	case principal == "engine":
		return "the engine"
	case principal == "":
		return "somebody"
	}
	return principal
}

// began says who or what started a machine.
func (t *story) began() string {
	l := t.m.Launch
	switch l.Reason {
	case fsm.ReasonRestart:
		return "a restart was asked for"
	case fsm.ReasonPolicy:
		s := fmt.Sprintf("its restart policy (%s) started it", t.m.Spec.Restart)
		if l.Attempt > 0 {
			s += fmt.Sprintf(", attempt %d of %d", l.Attempt, fsm.MaxAttempts)
		}
		return s
	case fsm.ReasonPerson, fsm.ReasonRemove, fsm.ReasonEngineStop, fsm.ReasonHostShutdown:
	}
	return somebody(l.Principal) + " asked for its start" + t.goesOn()
}

func (t *story) created() string {
	if of := t.m.Of; of != nil {
		return ": it was made as a clone of " + of.Name + " and never started"
	}
	return ": it was created and never started"
}

func (t *story) starting() string {
	l := t.m.Launch
	s := ": " + t.began()
	if l.Relaunched != "" {
		s += "; its first launch was replaced (" + l.Relaunched + ")"
	}
	if l.LaunchedSeq == 0 {
		return s + "; its VM host is being started"
	}
	s += fmt.Sprintf("; its VM runs, and its agent has %s from there to answer", l.Allowed)
	if l.Launched != nil && l.Launched.Note != "" {
		s += " (" + l.Launched.Note + ")"
	}
	return s
}

func (t *story) running() string {
	l := t.m.Launch
	if l.Ready == nil {
		return ": " + t.began()
	}
	s := fmt.Sprintf(": %s, and its agent answered after %s", t.began(), l.ReadyTime.Sub(l.Time).Round(10*time.Millisecond))
	if l.Relaunched != "" {
		s += "; its first launch was replaced (" + l.Relaunched + ")"
	}
	return s
}

// asked says who wanted a machine's end, and how.
func asked(s *fsm.Stop) string {
	switch s.Reason {
	case fsm.ReasonEngineStop:
		return somebody(s.Principal) + " stopped the engine together with its machines"
	case fsm.ReasonHostShutdown:
		return "the host was shutting down"
	case fsm.ReasonRestart:
		return somebody(s.Principal) + " asked for its restart"
	case fsm.ReasonRemove:
		return somebody(s.Principal) + " asked for its removal"
	case fsm.ReasonPerson, fsm.ReasonPolicy:
	}
	switch s.Mode {
	case fsm.StopKill:
		return somebody(s.Principal) + " asked for it to be killed"
	case fsm.StopSave:
		return somebody(s.Principal) + " suspended it"
	case fsm.StopGraceful:
	}
	return somebody(s.Principal) + " asked it to stop"
}

func (t *story) deadline() string {
	left := t.m.Stop.Deadline.Until(t.s.Clock.Moment()).Round(time.Second)
	switch {
	case t.m.Stop.Mode == fsm.StopKill:
		return ""
	case t.m.Stop.Mode == fsm.StopSave:
		return fmt.Sprintf("; if its guest is not saved in %s it runs on", left)
	case t.m.Stop.NoKill:
		return fmt.Sprintf("; if it has not stopped in %s it runs on, for it must not be killed", left)
	}
	return fmt.Sprintf("; if it has not stopped in %s it is killed", left)
}

func (t *story) removed() string {
	if n := len(t.chain); n > 0 && t.chain[n-1].Kind == fsm.KindRemoved {
		return ": " + somebody(t.chain[n-1].Principal) + " removed it"
	}
	return ": it was removed"
}

// changed says what a VM does not have yet.
func (t *story) changed() string {
	if note := pending(t.m.Machine); note != "" {
		return "Its spec was changed since: " + note
	}
	return ""
}

// renamed says what a machine was called when it ran last.
func (t *story) renamed() string {
	for _, e := range t.chain {
		if f, ok := e.Fact.(*fsm.RenamedFact); ok && e.Seq == t.m.Renamed {
			return fmt.Sprintf("%s renamed it from %s", somebody(e.Principal), f.From)
		}
	}
	return ""
}

// denied tells what a machine's policy kept its guest from.
func (t *story) denied() string {
	places := t.m.DeniedTo()
	if places == "" {
		return ""
	}
	s := fmt.Sprintf("Egress to %s was denied by its policy (egress %s)", places, policyOf(t.m.Spec))
	if len(t.m.Launch.Denials) == fsm.MaxDenials {
		s += "; no more places are recorded until its next start, or another policy"
	}
	return s
}

// setUp says that a machine's set-up is under way.
func (t *story) setUp() string {
	if !t.m.OwesProvision() {
		return ""
	}
	return "Its set-up (" + string(t.m.Spec.Provision.Kind) + ") has no result yet"
}

func (t *story) health() string {
	h := t.m.health()
	if h.Level == fsm.HealthOK {
		return ""
	}
	s := fmt.Sprintf("Its health is %s: %s", h.Level, h.Why)
	if hostPaused(h) {
		s += "; that is so most often because the host's disk is full, and it goes on by itself when there is room"
	}
	if t.m.Stray != nil {
		s += "; the journal does not know of it, as where an older one was restored"
	}
	return s
}

// goesOn says that a launch goes on from a guest that was saved.
func (t *story) goesOn() string {
	at := t.m.Launch.GoesOn
	if at.IsZero() {
		return ""
	}
	return ", which goes on from its guest of " + at.Format(time.RFC3339)
}

// saved says that the next start goes on.
func (t *story) saved() string {
	if t.m.Saved == nil {
		return ""
	}
	return "Its guest of " + t.m.Saved.Time.Format(time.RFC3339) + " is saved: a start goes on from there, start --fresh boots and throws it away"
}

// unsaved says why it runs on behind a suspend.
func (t *story) unsaved() string {
	if why := t.m.Launch.Unsaved; why != "" {
		return "It could not be suspended: " + why
	}
	return ""
}

// held says since when somebody wants the guest held still.
func (t *story) held() string {
	if !t.m.Paused() {
		return ""
	}
	p := t.m.Launch.Pause
	return fmt.Sprintf("%s had its guest paused %s ago", somebody(p.Principal), t.now.Sub(p.Time).Round(time.Second))
}

// hostPaused tells whether a VM waits for its host's disk.
func hostPaused(h fsm.Health) bool { return strings.HasPrefix(h.Why, pausedWhy) }

// disk tells of the host's disk where that is why a machine can't be started.
func (t *story) disk() string {
	if !t.s.Journal.DiskLow() {
		return ""
	}
	return fmt.Sprintf("The disk of %s is nearly full, so that no machine can be started", t.s.Home)
}
