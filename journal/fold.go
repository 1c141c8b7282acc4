package journal

import (
	"github.com/arcboxlabs/arcbox-engine/fsm"
)

// fold is what records add up to: opening, verifying and recovering share it.
// It keeps removed machines, so that nothing follows an end unnoticed.
type fold struct {
	machines map[string]*fsm.Machine     // nobody else's: records change them in place
	changed  func(id string, seq uint64) // nil, or told of each machine that a record changed
	orphans  bool                        // records are lost of which nobody knows whose they were
}

func newFold() *fold { return &fold{machines: map[string]*fsm.Machine{}} }

// record adds a record. One that Table 1 forbids marks its machine as damaged:
// what led to it is not there. Its error says so.
func (f *fold) record(r fsm.Record) error {
	m := f.machines[r.Machine]
	if r.Machine == "" || m != nil && r.Seq <= m.Seq || r.Seq == 0 {
		return nil
	}
	if m == nil {
		m = &fsm.Machine{}
		f.machines[r.Machine] = m
	}
	err := m.Add(r)
	if err != nil {
		if f.orphans && m.ID == "" {
			err = nil // the lost ones were its first
		}
		m.ID, m.Damaged = r.Machine, true
		if m.Add(r) != nil {
			m.Seq = r.Seq
		}
	}
	f.tell(m, r.Seq)
	return err
}

// machine is what the records of one add up to by now; the zero one where there
// are none.
func (f *fold) machine(id string) fsm.Machine {
	if m := f.machines[id]; m != nil {
		return *m
	}
	return fsm.Machine{}
}

// lose adds a record that can't be read. Where even its machine is not known,
// it may be any of them.
func (f *fold) lose(seq uint64, id string, known bool) {
	if known {
		m := f.machines[id]
		if m == nil {
			m = &fsm.Machine{}
		}
		if id != "" && m.State != fsm.Removed && m.Seq < seq {
			m.ID, m.Seq, m.Damaged = id, seq, true
			f.machines[id] = m
			f.tell(m, seq)
		}
		return
	}
	f.orphans = true
	for _, m := range f.machines {
		if m.State != fsm.Removed && m.Seq < seq {
			m.Seq, m.Damaged = seq, true
			f.tell(m, seq)
		}
	}
}

func (f *fold) tell(m *fsm.Machine, seq uint64) {
	if f.changed != nil {
		f.changed(m.ID, seq)
	}
}

// snapshotLag is how many records old the oldest record of a machine that its
// s/ value does not hold may get. It bounds the tail that opening reads.
const snapshotLag = 2048

// stale lists the machines whose s/ value lags, the longest first. It belongs
// to the writer.
type stale struct {
	queue []staleMachine
	in    map[string]bool
}

type staleMachine struct {
	id    string
	since uint64 // its first record that the s/ value does not hold
	gone  bool   // the s/ value is of a removed machine, and is to be deleted
}

func newStale() *stale { return &stale{in: map[string]bool{}} }

// add notes that a record of a machine is not in its s/ value.
func (s *stale) add(id string, seq uint64) {
	if !s.in[id] {
		s.in[id] = true
		s.queue = append(s.queue, staleMachine{id: id, since: seq})
	}
}

// pop takes the oldest one off that is due when the journal ends at seq.
func (s *stale) pop(seq uint64) (staleMachine, bool) {
	if len(s.queue) == 0 || seq-s.queue[0].since < snapshotLag {
		return staleMachine{}, false
	}
	m := s.queue[0]
	s.queue = s.queue[1:]
	delete(s.in, m.id)
	return m, true
}

// bury puts a removed machine back whose s/ value says so: it is deleted
// once the tail starts behind it, else a tail would hold records of a machine
// that nobody knows.
func (s *stale) bury(id string, seq uint64) {
	s.in[id] = true
	s.queue = append(s.queue, staleMachine{id: id, since: seq, gone: true})
}

// tail is where the tail starts when the journal ends at seq.
func (s *stale) tail(seq uint64) uint64 {
	if len(s.queue) == 0 {
		return seq + 1
	}
	return s.queue[0].since
}
