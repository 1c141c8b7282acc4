package actorstest

import (
	"fmt"
	"strings"

	"github.com/arcboxlabs/arcbox-engine/fsm"
)

// dumb is a second reading of the history that shares nothing with package
// fsm: names, CIDs, states and what people want, by a few plain rules.
type dumb struct {
	names    map[string]string // lower case → machine
	cids     map[uint32]string
	machines map[string]*dumbMachine
	requests map[string]string // principal and id → kind and machine
}

type dumbMachine struct {
	name, state string
	wanted      bool
	before      bool // wanted before the stop under way
	cid         uint32
}

func newDumb() *dumb {
	return &dumb{names: map[string]string{}, cids: map[uint32]string{}, machines: map[string]*dumbMachine{}, requests: map[string]string{}}
}

// read takes one more record, or says which rule it breaks.
func (d *dumb) read(r fsm.Record) error {
	if r.Machine == "" {
		return nil
	}
	if r.Request != "" {
		key := r.Principal + "/" + r.Request
		if old, twice := d.requests[key]; twice {
			return fmt.Errorf("record %d: request %s was done twice: %s, %s", r.Seq, key, old, r.Kind)
		}
		d.requests[key] = string(r.Kind)
	}
	m := d.machines[r.Machine]
	if (m == nil) != (r.Kind == fsm.KindCreated) || m != nil && m.state == "Removed" {
		return fmt.Errorf("record %d: %s of %+v", r.Seq, r.Kind, m)
	}
	if m == nil {
		m = &dumbMachine{}
		d.machines[r.Machine] = m
	}
	if err := d.step(m, r); err != nil {
		return fmt.Errorf("record %d: %s of %+v: %w", r.Seq, r.Kind, m, err)
	}
	return nil
}

func (d *dumb) step(m *dumbMachine, r fsm.Record) error {
	person := r.Reason == fsm.ReasonPerson || r.Reason == fsm.ReasonRestart || r.Reason == fsm.ReasonRemove
	switch f := r.Fact.(type) {
	case *fsm.CreatedFact:
		return d.created(m, r)
	case *fsm.StartRequestedFact:
		m.state, m.wanted = "Starting", m.wanted || person
		return d.hold(m, r)
	case *fsm.RelaunchedFact:
		if m.cid != f.OldCID || m.state != "Starting" {
			return fmt.Errorf("relaunched from CID %d", f.OldCID)
		}
		d.free(m, r.Machine)
		return d.hold(m, r)
	case *fsm.ReadyFact:
		m.state = "Running"
	case *fsm.StopRequestedFact:
		m.state, m.before = "Stopping", m.wanted
		if person {
			m.wanted = f.Then == fsm.ThenStart
		}
	case *fsm.StopTightenedFact:
		if person {
			m.wanted = f.Then == fsm.ThenStart
		}
	case *fsm.StopAbandonedFact:
		m.state, m.wanted = "Running", m.before
	case *fsm.ExitedFact, *fsm.RepairedFact:
		m.state = "Stopped"
		d.free(m, r.Machine)
	case *fsm.StrayFoundFact:
		m.cid = f.CID
	case *fsm.StrayGoneFact:
		m.cid = 0
	case *fsm.DesiredChangedFact:
		m.wanted = f.Desired == fsm.DesiredRunning
	case *fsm.RenamedFact:
		if old := strings.ToLower(m.name); m.name != f.From || d.names[old] != r.Machine || m.state != "Created" && m.state != "Stopped" {
			return fmt.Errorf("renamed from %s", f.From)
		}
		delete(d.names, strings.ToLower(m.name))
		return d.call(m, r)
	case *fsm.RemovedFact:
		m.state = "Removed"
		d.free(m, r.Machine)
		delete(d.names, strings.ToLower(m.name))
	}
	return nil
}

func (d *dumb) created(m *dumbMachine, r fsm.Record) error {
	m.state = "Created"
	return d.call(m, r)
}

func (d *dumb) call(m *dumbMachine, r fsm.Record) error {
	key := strings.ToLower(r.Name)
	if other, taken := d.names[key]; taken {
		return fmt.Errorf("the name is %s's", other)
	}
	d.names[key], m.name = r.Machine, r.Name
	return nil
}

func (d *dumb) hold(m *dumbMachine, r fsm.Record) error {
	if other, taken := d.cids[r.CID]; taken || r.CID < 3 {
		return fmt.Errorf("CID %d is %q's", r.CID, other)
	}
	d.cids[r.CID], m.cid = r.Machine, r.CID
	return nil
}

func (d *dumb) free(m *dumbMachine, id string) {
	if d.cids[m.cid] == id {
		delete(d.cids, m.cid)
	}
	m.cid = 0
}

// agrees holds the engine's list against it.
func (d *dumb) agrees(e *Engine) error {
	listed := e.Machines()
	if len(listed) != len(d.names) {
		return fmt.Errorf("%d machines are listed, there should be %d", len(listed), len(d.names))
	}
	for _, m := range listed {
		want := d.machines[m.ID]
		wanted := fsm.DesiredStopped
		if want != nil && want.wanted {
			wanted = fsm.DesiredRunning
		}
		if want == nil || want.name != m.Name || want.state != string(m.State) || wanted != m.Desired || want.cid != m.CID() {
			return fmt.Errorf("listed is %s %s, desired %s, CID %d; by its records it is %+v", m.Name, m.State, m.Desired, m.CID(), want)
		}
	}
	return nil
}
