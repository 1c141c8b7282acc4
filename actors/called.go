package actors

import (
	"github.com/arcboxlabs/arcbox-engine/fsm"
	"github.com/arcboxlabs/arcbox-engine/journal"
)

// namesThen says what machines were called, for records that come in their order: of a
// machine that was renamed since, its records are gone through once, and not for each.
type namesThen struct {
	*shared
	last map[string]called // by machine id
}

// called is a machine's name from one record on, and before another.
type called struct {
	from, before uint64
	name         string
}

// at is the name that a machine had behind a record.
func (n namesThen) at(m fsm.Machine, seq uint64) string {
	if seq >= m.Renamed {
		return m.Name
	}
	if c := n.last[m.ID]; c.from <= seq && seq < c.before {
		return c.name
	}
	next, err := n.Journal.Query(journal.Query{Machine: m.ID, After: seq, Before: m.Renamed + 1, Kinds: []fsm.Kind{fsm.KindRenamed}})
	if err != nil {
		return m.Name
	}
	for _, e := range next {
		if e.Unreadable == nil {
			c := called{seq, e.Seq, e.Fact.(*fsm.RenamedFact).From}
			n.last[m.ID] = c
			return c.name
		}
	}
	return m.Name
}
