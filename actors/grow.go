package actors

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"

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
	left := m.waiters[:0:0]
	for _, o := range m.waiters {
		if o.c.verb == verbSet {
			m.dismiss(o, setBefore(m, o))
		} else {
			left = append(left, o)
		}
	}
	m.waiters = left
}

// growNow begins the growth that a set owes to a machine that runs. It tells
// whether somebody will hear of its end.
func (m *machine) growNow(c *command) bool {
	st := m.state()
	if st.State != fsm.Running || !st.OwesGrow() || c.msg.(*wire.SetMachine).GetDisk() == 0 {
		return false
	}
	for d, w := range m.work {
		if d.Kind == fsm.DutyGrow && w.over {
			delete(m.work, d) // it failed once, and is tried again
		}
	}
	m.waiters = append(m.waiters, &waiter{c: c, since: st.Seq})
	m.reconcile()
	return true
}

// setDone answers a set whose disk has grown.
func setDone(m *machine, w *waiter) proto.Message {
	if m.state().OwesGrow() {
		return nil
	}
	return setBefore(m, w)
}

// atOnce says what of a set the VM has already.
func atOnce(st fsm.Machine, msg *wire.SetMachine) string {
	if st.State != fsm.Running || msg.GetDisk() == 0 || st.OwesGrow() {
		return ""
	}
	return fmt.Sprintf("disk %s: at once", sizeText(st.Spec.Disk))
}
