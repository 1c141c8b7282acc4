package fsm

// Finding is what a booting engine sees of a machine: a column of Table 2.
type Finding string

// The findings.
const (
	FreeWithNote Finding = "free, exit note of this launch"
	Free         Finding = "free, no note"
	HeldByThis   Finding = "held, this launch answers"
	HeldByOther  Finding = "held, another launch answers"
	HeldMute     Finding = "held, mute"
)

// Findings lists every finding.
var Findings = []Finding{FreeWithNote, Free, HeldByThis, HeldByOther, HeldMute}

// Remedy is what follows from a finding: a cell of Table 2.
type Remedy string

// The remedies.
const (
	RemedyNone          Remedy = "-"
	RemedyExited        Remedy = "append exited, from the note"
	RemedyRepaired      Remedy = "append repaired"
	RemedyAdopt         Remedy = "append adopted, go on"
	RemedyRepairedStray Remedy = "append repaired and stray-found in one batch; leave the VM running"
	RemedyWait          Remedy = "health unknown, keep trying"
	RemedyStray         Remedy = "append stray-found"
	RemedyDelete        Remedy = "delete the directory"
	RemedyKillDelete    Remedy = "kill it, then delete the directory"
)

// RepairRow is one row of Table 2: a remedy for each of Findings, in their order.
type RepairRow struct {
	Said     []State
	Remedies [5]Remedy
}

// Repairs is Table 2.
var Repairs = []RepairRow{
	{[]State{Starting, Running, Stopping}, [5]Remedy{RemedyExited, RemedyRepaired, RemedyAdopt, RemedyRepairedStray, RemedyWait}},
	{[]State{Created, Stopped}, [5]Remedy{RemedyNone, RemedyNone, RemedyStray, RemedyStray, RemedyStray}},
	{[]State{Removed}, [5]Remedy{RemedyDelete, RemedyDelete, RemedyKillDelete, RemedyDelete, RemedyKillDelete}},
}

// Repair looks up Table 2.
func Repair(said State, found Finding) Remedy {
	for _, row := range Repairs {
		for _, s := range row.Said {
			if s != said {
				continue
			}
			for i, f := range Findings {
				if f == found {
					return row.Remedies[i]
				}
			}
		}
	}
	return RemedyNone
}

// RepairDamaged is the remedy for a machine with an unreadable record: nobody
// knows which launch should run, so that whatever runs is a stray.
func RepairDamaged(found Finding) Remedy {
	switch found {
	case HeldByThis, HeldByOther, HeldMute:
		return RemedyRepairedStray
	case Free, FreeWithNote:
	}
	return RemedyRepaired
}

// RepairCause is the cause that repaired records: what most likely happened,
// given that nobody saw it. now is the host's boot id.
func RepairCause(m Machine, now string) Cause {
	switch l := m.Launch; {
	case l != nil && l.Boot != now:
		return CauseHostLost
	case l == nil || l.LaunchedSeq == 0:
		return CauseLaunchFailed
	}
	return CauseKilled
}
