package actors

import (
	"fmt"

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
	entries, err := s.Journal.Query(journal.Query{Machine: m.ID, Limit: chainMost, Newest: true, BackTo: chainKinds})
	if err != nil {
		return nil, fmt.Errorf("why: %w", err)
	}
	t, err := newStory(s, m, entries)
	if err != nil {
		return nil, fmt.Errorf("why: %w", err)
	}
	out := &wire.Why{Machine: machineOnWire(s, m, true), Sentence: t.tell(), Can: can(m), Advice: t.advice()}
	then := namesThen{s, map[string]called{}}
	for _, e := range t.chain {
		out.Chain = append(out.Chain, then.recordOnWire(e))
	}
	return out, nil
}

// chainKinds begin the part of a machine's history that led to its state: its
// last start, or its creation.
var chainKinds = []fsm.Kind{fsm.KindCreated, fsm.KindStartRequested}

// can lists what a person can do about a machine now.
func can(m *Seen) []string {
	var out []string
	for _, c := range []struct {
		v       verb
		command string
	}{
		{verbStart, "arcbox start %s"}, {verbStop, "arcbox stop %s"}, {verbStop, "arcbox stop --kill %s"},
		{verbPause, "arcbox pause %s"}, {verbResume, "arcbox resume %s"},
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
	case verbRemove, verbExport:
		return !live
	case verbOpen:
		return live && !m.Paused()
	case verbPause:
		return !m.Paused()
	case verbResume:
		return m.Paused() || hostPaused(m.health())
	case verbLog:
		return m.Dir
	case verbCreate, verbRestart, verbSet, verbAgain, verbRename, verbClone, verbAwait:
	}
	return true
}
