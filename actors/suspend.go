package actors

import (
	"context"
	"errors"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/fsm"
)

// ErrNoSave is the answer of a VM whose guest can't be written to a file, by its backend
// or by the age of its VM host.
var ErrNoSave = errors.New("its VM can't be saved")

const (
	// DefaultSuspend is the time to write a guest to a file, where nobody says more.
	DefaultSuspend = 5 * time.Minute

	savedEnd = 30 * time.Second // for a VM to be gone whose guest was saved
)

// What workers bring that save guests.
type (
	// unsaved: the guest goes on as it was.
	unsaved struct{ err error }
	// lingers: the guest was saved, and its VM does not end.
	lingers struct{}
)

// suspendAsked has the guest written to a file and its VM ended. Who asked hears when
// that is so, or why the guest goes on.
func (m *machine) suspendAsked(c *command) error {
	if err := m.maySuspend(); err != nil {
		return err
	}
	limit := timeout(c.msg.(*wire.SuspendMachine).GetTimeoutNanos(), DefaultSuspend)
	if err := m.append(fsm.Record{
		Principal: c.principal, Request: c.request, Reason: c.reason,
		Fact: &fsm.StopRequestedFact{Mode: fsm.StopSave, NoKill: true, Deadline: m.Clock.Moment().Add(limit)},
	}); err != nil {
		return err
	}
	return m.await(c)
}

// maySuspend refuses what would fail for sure.
func (m *machine) maySuspend() error {
	if err := m.asleep("its guest has to help, and can't"); err != nil {
		return err
	}
	if s := m.state().LaunchSpec(); len(s.Shares) > 0 || s.Rosetta {
		return refuse(wire.Code_CODE_CONFLICT, "arcbox stop "+m.ref.Name, "machine %q can't be suspended: it has shares, and what it has open of them is the host's", m.ref.Name)
	}
	return m.roomOnDisk()
}

// suspendedAlready: there is nothing to do.
func (m *machine) suspendedAlready(c *command) error {
	if m.state().Saved == nil {
		return m.conflict(c)
	}
	m.finish(c, "it was suspended already")
	return nil
}

// beginSave has the guest saved, and awaits the VM's end.
func (m *machine) beginSave(d fsm.Duty, deadline fsm.Moment) {
	s, ref, left := m.shared, m.ref, m.until(deadline)
	m.run(d, func(ctx context.Context, _ func(any)) any {
		limited, cancel := within(ctx, s.Clock, left)
		defer cancel()
		switch err := s.Save(limited, ref); {
		case ctx.Err() != nil:
			return nil
		case err != nil && limited.Err() != nil:
			return unsaved{errors.New("it was not done in the time allowed")}
		case err != nil:
			return unsaved{err}
		}
		if !sleep(ctx, s.Clock, savedEnd) {
			return nil
		}
		return lingers{}
	})
}

// setClock has a guest that went on look at the time: its clock stands where it was
// saved, and a check sets it. One that does not answer right away is the monitor's.
func (s *shared) setClock(ctx context.Context, ref Ref) {
	limited, cancel := within(ctx, s.Clock, checkTime)
	defer cancel()
	if err := s.Guests.Check(limited, ref); err != nil && ctx.Err() == nil {
		s.Log.Warn("the clock of a guest that goes on", "machine", ref.Name, "err", err)
	}
}

// notSaved records that the guest goes on.
func (m *machine) notSaved(r unsaved) {
	if err := m.append(fsm.Record{Fact: &fsm.StopAbandonedFact{Why: r.err.Error()}}); err != nil {
		m.Log.Warn("abandon suspend", "machine", m.ref.Name, "err", err)
	}
}

// suspended answers a suspend when the VM is gone.
func suspended(m *machine, w *waiter) proto.Message {
	if e := m.state().Exit; e != nil && e.Cause == fsm.CauseSaved {
		return done(m, w)
	}
	return failed(m, w)
}

// notSuspended answers a suspend behind which the guest goes on.
func notSuspended(m *machine, w *waiter) proto.Message {
	st := m.state()
	if st.Launch == nil || st.Launch.Unsaved == "" {
		return done(m, w) // it was, and somebody had it go on since
	}
	return refused(refuse(wire.Code_CODE_FAILED, "arcbox journal why "+m.ref.Name, "machine %q can't be suspended, and runs on: %s", m.ref.Name, st.Launch.Unsaved), &st)
}

// halfMachine refuses what takes a machine's disk without its guest.
func (m *machine) halfMachine(what string) error {
	if m.state().Saved == nil {
		return nil
	}
	return refuse(wire.Code_CODE_CONFLICT, "arcbox start "+m.ref.Name, "machine %q is suspended: half of it is in its guest's memory, so that it can't be %s; start it, and stop it then", m.ref.Name, what)
}

// ofSaved says in a note what became of a guest that was saved, or will.
func ofSaved(st fsm.Machine) string {
	switch {
	case st.Saved != nil:
		return "its guest is saved: a start goes on from there, start --fresh boots"
	case st.Launch != nil && !st.Launch.GoesOn.IsZero():
		return "its guest goes on from " + st.Launch.GoesOn.Format(time.RFC3339)
	}
	return ""
}

// and joins two notes.
func and(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "; " + b
}
