package actorstest

import (
	"cmp"
	"fmt"
	"strings"
	"testing/synctest"

	"google.golang.org/protobuf/proto"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/fsm"
	"github.com/arcboxlabs/arcbox-engine/hv/network/egress"
)

// synctestWait waits until nothing happens any more by itself.
func synctestWait() { synctest.Wait() }

// inWords is an answer as a scenario shows it.
func inWords(msg proto.Message) string {
	switch a := msg.(type) {
	case *wire.Done:
		s := "done"
		if a.GetMachine() != nil {
			s += ", " + a.GetMachine().GetState()
		}
		if a.GetKilled() {
			s += ", killed"
		}
		if a.GetRepeated() {
			s += ", repeated"
		}
		if a.GetNote() != "" {
			s += " (" + a.GetNote() + ")"
		}
		return s
	case *wire.Refused:
		return strings.TrimPrefix(a.GetCode().String(), "CODE_") + ": " + strings.ReplaceAll(a.GetMessage(), "\n", " / ")
	case *wire.Ticket, *wire.Exporting:
		return "a ticket"
	case *wire.Machine:
		return portsInWords(a)
	case *wire.Why:
		s := a.GetSentence()
		for _, x := range a.GetAdvice() {
			s += "\n  try " + x.GetCommand() + "  # " + x.GetWhy()
		}
		return s
	}
	return fmt.Sprint(msg)
}

// recordInWords is a record as a scenario shows it: kind, machine, who asked
// and why, and what is special about it.
func recordInWords(r fsm.Record, name string) string {
	s := string(r.Kind)
	if name != "" {
		s += " " + name
	}
	if r.To != fsm.None {
		s += " -> " + string(r.To)
	}
	if r.Principal != "engine" {
		s += " by " + r.Principal
	}
	if r.Reason != "" {
		s += " (" + string(r.Reason) + ")"
	}
	return s + factInWords(r)
}

func factInWords(r fsm.Record) string {
	switch f := r.Fact.(type) {
	case *fsm.StartRequestedFact:
		s := fmt.Sprintf(" cid %d", r.CID)
		if f.Attempt > 0 {
			s += fmt.Sprintf(" attempt %d", f.Attempt)
		}
		if f.Saved {
			s += " goes on"
		}
		return s
	case *fsm.StopRequestedFact:
		return stopInWords(f.Mode, f.NoKill, f.Then)
	case *fsm.StopTightenedFact:
		return stopInWords(f.Mode, f.NoKill, f.Then)
	case *fsm.ExitedFact:
		return " " + string(f.Cause) + planInWords(f.Plan)
	case *fsm.RepairedFact:
		return " " + string(f.Cause) + planInWords(f.Plan)
	case *fsm.HealthChangedFact:
		return strings.TrimRight(fmt.Sprintf(" %s %s", f.Health.Level, f.Health.Why), " ")
	case *fsm.ProvisionedFact:
		return " " + f.What()
	case *fsm.EgressDeniedFact:
		return " " + f.Denial.String()
	case *fsm.RebootedFact:
		if f.Times > 1 {
			return fmt.Sprintf(" %d times", f.Times)
		}
	case *fsm.SpecChangedFact:
		if p := f.Spec.Provision; p != nil {
			return fmt.Sprintf(" set-up round %d", p.Round)
		}
		s := fmt.Sprintf(" cpus %d memory %dM", f.Spec.CPUs, f.Spec.Memory>>20)
		if f.Spec.Disk > 0 {
			s += fmt.Sprintf(" disk %dM", f.Spec.Disk>>20)
		}
		if len(f.Spec.Labels) > 0 {
			s += fmt.Sprintf(" labels %v", f.Spec.Labels)
		}
		if f.Spec.Network != fsm.NetworkNone {
			s += " egress " + cmp.Or(f.Spec.Egress, egress.Allow)
		}
		if f.Spec.Protected {
			s += " protected"
		}
		if f.Spec.AutoPorts {
			s += " auto-ports"
		}
		if f.Grown > 0 {
			s += fmt.Sprintf(" grown %dM", f.Grown>>20)
		}
		return s
	case *fsm.CreatedFact:
		if f.Of != nil {
			return " clone of " + f.Of.Name
		}
	case *fsm.ResumeRequestedFact:
		if f.Why != "" {
			return ": " + f.Why
		}
	case *fsm.RenamedFact:
		return " from " + f.From
	case *fsm.DesiredChangedFact:
		return " " + string(f.Desired)
	case *fsm.StrayFoundFact:
		return fmt.Sprintf(" cid %d", f.CID)
	}
	return ""
}

func stopInWords(mode fsm.StopMode, noKill bool, then fsm.Then) string {
	s := " " + string(mode)
	if noKill {
		s += " no-kill"
	}
	if then != fsm.ThenNothing {
		s += " then " + string(then)
	}
	return s
}

func planInWords(p fsm.Plan) string {
	switch {
	case p.Start:
		return fmt.Sprintf(", attempt %d", p.Attempt)
	case p.Resting:
		return ", rests"
	}
	return ""
}

// history is all records in words.
func (e *Engine) history() string {
	records, err := e.Records()
	if err != nil {
		return err.Error()
	}
	var out strings.Builder
	for _, r := range records {
		m, _ := e.journal.Machine(r.Machine)
		fmt.Fprintf(&out, "%d %s\n", r.Seq, recordInWords(r, m.Name))
	}
	return out.String()
}
