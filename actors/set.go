package actors

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/fsm"
)

// setHint is where it stands what set takes.
const setHint = "arcbox set --help"

// set changes a machine's spec. What is set to what it is already is no change.
func (m *machine) set(c *command) error {
	if err := m.whole(); err != nil { // a record that can't be read may be that of its spec
		return err
	}
	st := m.state()
	spec, err := changed(st, c.msg.(*wire.SetMachine), m.Limits)
	if err != nil {
		return err
	}
	if spec.Ports, err = m.freePorts(spec.Ports); err != nil {
		return err
	}
	if spec.Equal(st.Spec) {
		if !m.soon(c) { // what it was set to before may be under way still
			m.finish(c, "it was so already")
		}
		return nil
	}
	if freed := unprotects(st.Spec, spec); !freed { // what can't be removed would be stuck on a full disk
		if err := m.roomOnDisk(); err != nil {
			return err
		}
	}
	if err := m.append(fsm.Record{Principal: c.principal, Request: c.request, Reason: c.reason, Fact: &fsm.SpecChangedFact{Spec: spec}}); err != nil {
		return err
	}
	if !m.soon(c) {
		m.finish(c, m.taken(c))
	}
	return nil
}

// soon begins what a set owes to a machine that runs. It tells whether somebody
// will hear of its end.
func (m *machine) soon(c *command) bool {
	msg := c.msg.(*wire.SetMachine)
	grows, obeys := m.growNow(msg), m.obeyNow(msg)
	if !grows && !obeys {
		return false
	}
	m.waiters = append(m.waiters, &waiter{c: c, since: m.state().Seq})
	m.reconcile()
	return true
}

// setDone answers a set once the VM has all of it that it can have.
func setDone(m *machine, w *waiter) proto.Message {
	msg := w.c.msg.(*wire.SetMachine)
	if m.growing(msg) || msg.GetEgress() != "" && m.obeying() {
		return nil
	}
	return setBefore(m, w)
}

// answerSets answers those of whose set nothing is under way any more.
func (m *machine) answerSets() {
	left := m.waiters[:0:0]
	for _, w := range m.waiters {
		if w.c.verb == verbSet {
			if out := setDone(m, w); out != nil {
				m.dismiss(w, out)
				continue
			}
		}
		left = append(left, w)
	}
	m.waiters = left
}

// taken says what of a set counts at once, and what later.
func (m *machine) taken(c *command) string {
	st, msg := m.state(), c.msg.(*wire.SetMachine)
	later := pending(st)
	if later != "" && st.OwesGrow() && st.Paused() {
		later += " (the disk when it is resumed)"
	}
	if later != "" && st.Saved != nil && st.Saved.Spec.Disk < st.Spec.Disk {
		later += " (the disk as soon as it goes on)"
	}
	if later != "" && m.growWhy != "" && st.OwesGrow() {
		later += " (the disk did not grow while it runs: " + m.growWhy + ")"
	}
	parts := slices.DeleteFunc([]string{grownNow(st, msg), m.policyNow(msg), later}, func(s string) bool { return s == "" })
	return strings.Join(parts, "; ")
}

// changed is a machine's spec with what a request sets, or says what is wrong with
// that. What it leaves alone is not checked: the host may have shrunk since.
func changed(m fsm.Machine, w *wire.SetMachine, l Limits) (fsm.Spec, error) {
	s := m.Spec
	if len(w.GetAddPorts())+len(w.GetRemovePorts()) > 0 {
		return changedPorts(s, w)
	}
	if w.GetCpus() == 0 && w.GetMemory() == 0 && w.GetDisk() == 0 && w.GetEgress() == "" && len(w.GetLabels())+len(w.GetRemoveLabels()) == 0 && w.Protect == nil && w.AutoPorts == nil {
		return s, hinted(badInput("", "set: nothing to change: cpus, memory, disk, egress, a label or auto-ports is needed"), setHint)
	}
	if w.GetCpus() != 0 {
		s.CPUs = int(w.GetCpus())
		if r := checkCPUs(s, l); r != nil {
			return s, hinted(r, setHint)
		}
	}
	if w.GetMemory() != 0 {
		s.Memory = w.GetMemory()
		if r := checkMemory(s, l); r != nil {
			return s, hinted(r, setHint)
		}
	}
	if w.GetDisk() != 0 {
		s.Disk = w.GetDisk()
		if r := checkGrown(m, s); r != nil {
			return s, hinted(r, setHint)
		}
	}
	var r *Refusal
	if s, r = changedEgress(s, w.GetEgress()); r != nil {
		return s, r
	}
	if s, r = changedLabels(s, w); r != nil {
		return s, hinted(r, setHint)
	}
	if w.AutoPorts != nil {
		if s.AutoPorts = w.GetAutoPorts(); s.AutoPorts {
			if err := needsNetwork(s); err != nil {
				return s, err
			}
		}
	}
	if w.Protect != nil {
		if s, r = protect(s, w.GetProtect()); r != nil {
			return s, r
		}
	}
	return s, nil
}

// checkGrown refuses to make a disk smaller that was made: what is in it would be
// cut off. One that no VM has had yet may have any size.
func checkGrown(m fsm.Machine, s fsm.Spec) *Refusal {
	if r := checkDisk(s); r != nil {
		return r
	}
	had := m.LaunchSpec().Disk
	if m.State == fsm.Running && m.OwesGrow() {
		had = m.Spec.Disk // it is on its way there, and may have come far
	}
	if slices.Contains(m.Disks, fsm.DataDisk) && s.Disk < had {
		return badInput("disk", "disk %s: it has %s, and can only grow: what is in it would be cut off", sizeText(s.Disk), sizeText(had))
	}
	return nil
}

// pending says what of a machine's spec its VM does not have yet, "" where there
// is nothing.
func pending(m fsm.Machine) string {
	now := runsWith(m)
	var parts []string
	if now.CPUs != m.Spec.CPUs {
		parts = append(parts, fmt.Sprintf("cpus %d (now %d)", m.Spec.CPUs, now.CPUs))
	}
	if now.Memory != m.Spec.Memory {
		parts = append(parts, fmt.Sprintf("memory %s (now %s)", sizeText(m.Spec.Memory), sizeText(now.Memory)))
	}
	if now.Disk != m.Spec.Disk {
		parts = append(parts, fmt.Sprintf("disk %s (now %s)", sizeText(m.Spec.Disk), sizeText(now.Disk)))
	}
	if len(parts) == 0 {
		return ""
	}
	if m.Saved != nil {
		return strings.Join(parts, ", ") + ": from the next start on that boots it, for its guest is saved and goes on as it was"
	}
	return strings.Join(parts, ", ") + ": from the next start on"
}

// runsWith is what a machine's VM has, or will have where its guest is saved.
func runsWith(m fsm.Machine) fsm.Spec {
	if m.Launch == nil {
		return m.StartSpec()
	}
	return m.LaunchSpec()
}

// setBefore answers a set that was carried out before.
func setBefore(m *machine, w *waiter) proto.Message {
	out := m.doneMessage(m.taken(w.c))
	out.Repeated = w.repeated
	return out
}
