package actors

import (
	"context"
	"fmt"
	"time"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/fsm"
	"github.com/arcboxlabs/arcbox-engine/hv/network/egress"
)

// egressTime is how long a set waits for the network to say that it holds a machine
// to its new policy: longer than it takes to start a network process anew.
const egressTime = 5 * time.Second

// egressLate is the result of that wait.
type egressLate struct{}

// policyOf is where a spec lets its machine connect to, in the words of package egress.
func policyOf(s fsm.Spec) string { return or(s.Egress, egress.Allow) }

// changedEgress is a spec with another policy.
func changedEgress(s fsm.Spec, policy string) (fsm.Spec, *Refusal) {
	if policy == "" {
		return s, nil
	}
	if s.Network == fsm.NetworkNone {
		return s, refuse(wire.Code_CODE_CONFLICT, "arcbox create --help", "egress needs a network, and this machine has none")
	}
	if _, err := egress.Parse(policy); err != nil {
		return s, hinted(badInput("egress", "egress %v", err), setHint)
	}
	if s.Egress = policy; policy == egress.Allow {
		s.Egress = ""
	}
	return s, nil
}

// obeyNow has somebody who set the policy of a machine that runs hear that the
// network holds it to that. It tells whether there is anything to wait for.
func (m *machine) obeyNow(msg *wire.SetMachine) bool {
	st := m.state()
	if msg.GetEgress() == "" || m.wish(st) == nil || m.inForce(st) {
		return false
	}
	s := m.shared
	m.stopOdd("egress") // the time counts from now
	m.runOdd("egress", func(ctx context.Context, _ func(any)) any {
		sleep(ctx, s.Clock, egressTime)
		return egressLate{}
	})
	return true
}

// inForce tells whether the network holds a machine to its policy.
func (s *shared) inForce(m fsm.Machine) bool {
	st, _ := s.Networks.Known(refOf(m))
	return st.Trouble == "" && st.Egress == policyOf(m.Spec)
}

// obeying tells whether a policy is on its way to the network, and somebody waits.
func (m *machine) obeying() bool {
	w := m.odd["egress"]
	return w != nil && !w.called
}

// obeyed answers those who wait, once the network holds the machine to its policy.
func (m *machine) obeyed() {
	if m.obeying() && m.inForce(m.state()) {
		m.stopOdd("egress")
		m.answerSets()
	}
}

// policyNow says of a policy that was set whether it is in force; "" where no VM runs
// that would be held to it.
func (m *machine) policyNow(msg *wire.SetMachine) string {
	st := m.state()
	if msg.GetEgress() == "" || m.wish(st) == nil {
		return ""
	}
	if m.inForce(st) {
		return fmt.Sprintf("egress %s: at once", policyOf(st.Spec))
	}
	known, _ := m.Networks.Known(m.ref)
	return fmt.Sprintf("egress %s: as soon as its network process has it (%s)", policyOf(st.Spec), or(known.Trouble, "which has not said so"))
}

// denied records the first places that the policy in force kept the guest from. The
// guest chooses how often it tries and where: what is recorded is bounded for each
// launch, and what the network process says costs nobody else anything.
func (m *machine) denied() {
	st := m.state()
	if m.wish(st) == nil || !m.inForce(st) { // else it is another launch's, or another policy's
		return
	}
	known, _ := m.Networks.Known(m.ref)
	var recs []fsm.Record
	for _, d := range st.NewDenials(known.Denials) {
		recs = append(recs, fsm.Record{Fact: &fsm.EgressDeniedFact{Denial: d}})
	}
	if len(recs) > 0 {
		m.observed(recs...)
	}
}
