package actors

import (
	"slices"
	"strings"
	"sync"

	"github.com/arcboxlabs/arcbox-engine/fsm"
)

// Seen is one machine as it was last published. It is never changed.
type Seen struct {
	fsm.Machine
	// Unseen: no one has looked at its lock since the engine started, so that
	// its health is unknown.
	Unseen bool
	// Unwatched: it is live by the journal, and no engine runs that would know
	// of its end.
	Unwatched bool
	// Shares is what is wrong with each of the VM's shares; nil = nobody knows yet.
	Shares []string
	// Busy is what its disk is used for while it does not run; "" = nothing.
	Busy string
}

// Health is the machine's health, unknown where nobody has looked yet.
func (s *Seen) health() fsm.Health {
	if s.Unwatched {
		return fsm.Health{Level: fsm.HealthUnknown, Why: "no engine runs, so that nobody looks at its VM"}
	}
	if s.Unseen {
		return fsm.Health{Level: fsm.HealthUnknown, Why: "the engine has just started and has not looked yet"}
	}
	return s.Machine.Health
}

// View is the published state of all machines. Reading it asks no actor.
type View struct {
	mu      sync.Mutex
	version uint64
	byID    map[string]*Seen
	byName  map[string]*Seen
	sorted  []*Seen // of the version, nil until somebody asks
}

// NewView makes an empty view.
func NewView() *View { return &View{byID: map[string]*Seen{}, byName: map[string]*Seen{}} }

// publish shows a machine, or takes it off the list where it is removed.
func (v *View) publish(s *Seen) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.version++
	v.sorted = nil
	if s.State == fsm.Removed {
		delete(v.byID, s.ID)
		if old := v.byName[nameKey(s.Name)]; old != nil && old.ID == s.ID {
			delete(v.byName, nameKey(s.Name))
		}
		return
	}
	if old := v.byID[s.ID]; old != nil && nameKey(old.Name) != nameKey(s.Name) && v.byName[nameKey(old.Name)] == old {
		delete(v.byName, nameKey(old.Name)) // it was renamed
	}
	v.byID[s.ID], v.byName[nameKey(s.Name)] = s, s
}

// List is every machine, sorted by name, and the version of the list.
func (v *View) List() ([]*Seen, uint64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.sorted == nil {
		v.sorted = make([]*Seen, 0, len(v.byID))
		for _, s := range v.byID {
			v.sorted = append(v.sorted, s)
		}
		slices.SortFunc(v.sorted, func(a, b *Seen) int { return strings.Compare(nameKey(a.Name), nameKey(b.Name)) })
	}
	return v.sorted, v.version
}

// Named finds a machine by its name, whatever its case.
func (v *View) Named(name string) (*Seen, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	s, ok := v.byName[nameKey(name)]
	return s, ok
}

// ByID finds a machine by its id.
func (v *View) ByID(id string) (*Seen, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	s, ok := v.byID[id]
	return s, ok
}
