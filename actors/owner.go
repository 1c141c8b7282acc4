package actors

import (
	"context"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/fsm"
)

// orphaned: the command that the machine lives for has ended.
type orphaned struct{ err error }

// ownerPrincipal is who asks for the removal of a machine whose owner has ended.
const ownerPrincipal = "owner"

// ownerWork is the worker that waits for the owner's end.
const ownerWork = "owner"

// watchOwner waits for the end of the machine's owner, as long as the machine has
// one and is not being removed anyway. Like what is owed it follows from the
// folded state alone, so that an engine that boots goes on with it; it is no duty,
// because the machine is none the less at rest.
func (m *machine) watchOwner() {
	st := m.state()
	if st.Spec.Owner == "" || st.State == fsm.None || st.State == fsm.Removed || m.removing() {
		m.stopOdd(ownerWork)
		return
	}
	s, owner, again := m.shared, st.Spec.Owner, m.orphan
	m.runOdd(ownerWork, func(ctx context.Context, _ func(any)) any {
		if again {
			sleep(ctx, s.Clock, orphanAgain)
		}
		err := s.Owners.Gone(ctx, owner)
		if ctx.Err() != nil {
			return nil
		}
		return orphaned{err}
	})
}

// orphaned removes the machine, whatever it does. Where that fails, the next look
// at the owner asks for it again.
func (m *machine) orphaned(r orphaned) {
	m.orphan = true
	if r.err != nil {
		m.Log.Warn("wait for its owner's end", "machine", m.ref.Name, "err", r.err)
		return
	}
	m.Log.Info("its owner has ended", "machine", m.ref.Name)
	m.command(&command{
		verb: verbRemove, msg: &wire.RemoveMachine{Name: m.ref.ID, Force: true}, principal: ownerPrincipal, reason: fsm.ReasonRemove,
	})
}
