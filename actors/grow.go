package actors

import (
	"context"
	"fmt"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/fsm"
)

// diskGrown is what came of a disk's growth while its VM runs.
type diskGrown struct {
	size int64
	err  error
}

// beginGrow has the VM's disk grow. What an engine before this one began is begun
// anew, for nobody knows how far it came.
func (m *machine) beginGrow(d fsm.Duty) {
	s, ref, size := m.shared, m.ref, m.state().Spec.Disk
	m.run(d, func(ctx context.Context, _ func(any)) any {
		limited, cancel := within(ctx, s.Clock, growTime)
		defer cancel()
		err := s.Grow(limited, ref, size)
		if err != nil && limited.Err() != nil && ctx.Err() == nil {
			err = fmt.Errorf("it was not done within %s", growTime)
		}
		return diskGrown{size, err}
	})
}

// growDone records it. What failed waits for the next start, or for the next set
// or engine: a guest that can't now may never be able to.
func (m *machine) growDone(w *work, r diskGrown) {
	m.growWhy = ""
	if r.err == nil {
		delete(m.work, w.duty) // more may be owed by now
		m.observed(fsm.Record{Fact: &fsm.SpecChangedFact{Spec: m.state().Spec, Grown: r.size}})
		return
	}
	m.growWhy = r.err.Error()
	m.Log.Warn("grow the disk", "machine", m.ref.Name, "err", r.err)
	m.answerSets()
}

// growNow begins the growth that a set owes to a machine that runs, anew where it
// failed once. It tells whether there is any.
func (m *machine) growNow(msg *wire.SetMachine) bool {
	if !m.mayGrow(msg) {
		return false
	}
	m.growWhy = ""
	for d, w := range m.work {
		if d.Kind == fsm.DutyGrow && w.over {
			delete(m.work, d)
		}
	}
	return true
}

// mayGrow tells whether a disk that was set can become what it is to be now.
func (m *machine) mayGrow(msg *wire.SetMachine) bool {
	st := m.state()
	return msg.GetDisk() != 0 && st.State == fsm.Running && st.OwesGrow() && !st.Paused()
}

// growing tells whether it is on its way there.
func (m *machine) growing(msg *wire.SetMachine) bool { return m.mayGrow(msg) && m.growWhy == "" }

// grownNow says of a disk that was set that the VM has it already.
func grownNow(st fsm.Machine, msg *wire.SetMachine) string {
	if st.State != fsm.Running || msg.GetDisk() == 0 || st.OwesGrow() {
		return ""
	}
	return fmt.Sprintf("disk %s: at once", sizeText(st.Spec.Disk))
}
