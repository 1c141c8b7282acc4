package fsm

import "time"

// DutyKind names a thing that a machine's state obliges its actor to do.
type DutyKind string

// The duties.
const (
	DutyLaunch  DutyKind = "launch"  // spawn the VM host
	DutyWatch   DutyKind = "watch"   // wait for the VM's end
	DutyReady   DutyKind = "ready"   // wait for the agent, hold the deadline against it
	DutyMonitor DutyKind = "monitor" // see how the guest does
	DutyBooted  DutyKind = "booted"  // wait for the init of its image
	DutyStop    DutyKind = "stop"    // shut it down, hold the deadline against it
	DutyStart   DutyKind = "start"   // start it again
	DutyRemove  DutyKind = "remove"  // append removed
	DutyClean   DutyKind = "clean"   // delete its directory
	DutyStray   DutyKind = "stray"   // wait for a stray's end

	DutyGrow DutyKind = "grow" // have the VM's disk grow while it runs

	DutyProvision DutyKind = "provision" // have it set up, and record what came of it

	DutyPause  DutyKind = "pause"  // have its guest held still
	DutyResume DutyKind = "resume" // have it go on
)

// Duty is one thing owed. Two duties are the same where they are equal.
type Duty struct {
	Kind      DutyKind
	Seq       uint64    // the record that owes it; a result with any other is dropped
	NotBefore time.Time // zero = at once
}

// Owed is what the folded state obliges to, at boot and live alike.
func Owed(m Machine) []Duty {
	if f := owed[m.State]; f != nil && !m.Damaged {
		return f(m)
	}
	return nil
}

var owed = map[State]func(Machine) []Duty{
	Starting: func(m Machine) []Duty {
		if m.Launch.LaunchedSeq == 0 {
			return []Duty{{Kind: DutyLaunch, Seq: m.Launch.Seq}}
		}
		return []Duty{{Kind: DutyWatch, Seq: m.Launch.Seq}, {Kind: DutyReady, Seq: m.Launch.LaunchedSeq}}
	},
	Running: func(m Machine) []Duty {
		if d, owes := m.owedPause(); owes { // nothing else comes to an end before
			return []Duty{{Kind: DutyWatch, Seq: m.Launch.Seq}, d}
		}
		duties := []Duty{{Kind: DutyWatch, Seq: m.Launch.Seq}, {Kind: DutyMonitor, Seq: m.Launch.ReadySeq}}
		if m.Spec.Image != "" && !m.Launch.Booted {
			duties = append(duties, Duty{Kind: DutyBooted, Seq: max(m.Launch.ReadySeq, m.Launch.RebootSeq)})
		}
		if m.OwesGrow() {
			duties = append(duties, Duty{Kind: DutyGrow, Seq: m.Launch.ReadySeq})
		}
		if m.OwesProvision() {
			duties = append(duties, Duty{Kind: DutyProvision, Seq: m.Launch.ReadySeq})
		}
		return duties
	},
	Stopping: func(m Machine) []Duty {
		duties := []Duty{{Kind: DutyWatch, Seq: m.Launch.Seq}, {Kind: DutyStop, Seq: m.Stop.Seq}}
		if d, owes := m.owedPause(); owes && d.Kind == DutyResume {
			duties = append(duties, d)
		}
		return duties
	},
	Created: owedStopped,
	Stopped: owedStopped,
	Removed: func(m Machine) []Duty { return []Duty{{Kind: DutyClean, Seq: m.StateAt}} },
}

func owedStopped(m Machine) []Duty {
	switch {
	case m.Stray != nil:
		return []Duty{{Kind: DutyStray, Seq: m.StateAt}}
	case m.Stop != nil && m.Stop.Then == ThenRemove:
		return []Duty{{Kind: DutyRemove, Seq: m.StateAt}}
	case m.Exit == nil:
		return nil
	case m.Stop != nil && m.Stop.Then == ThenStart:
		return []Duty{{Kind: DutyStart, Seq: m.StateAt}}
	case m.Exit.Plan.Start && m.Desired == DesiredRunning:
		return []Duty{{Kind: DutyStart, Seq: m.StateAt, NotBefore: m.Exit.Plan.NotBefore}}
	}
	return nil
}
