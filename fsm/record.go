package fsm

import "time"

// Kind names a record. Kinds are facts, in the past tense. A new kind raises
// the journal's format.
type Kind string

// The kinds that move a machine's state (Table 1).
const (
	KindCreated        Kind = "created"
	KindStartRequested Kind = "start-requested"
	KindRelaunched     Kind = "relaunched"
	KindReady          Kind = "ready"
	KindStopRequested  Kind = "stop-requested"
	KindStopAbandoned  Kind = "stop-abandoned"
	KindExited         Kind = "exited"
	KindRepaired       Kind = "repaired"
	KindRemoved        Kind = "removed"
)

// The kinds that leave the state as it is.
const (
	KindLaunched       Kind = "launched"
	KindAdopted        Kind = "adopted"
	KindBooted         Kind = "booted"
	KindRebooted       Kind = "rebooted"
	KindDesiredChanged Kind = "desired-changed"
	KindStopTightened  Kind = "stop-tightened"
	KindSpecChanged    Kind = "spec-changed"
	KindDiskFormatted  Kind = "disk-formatted"
	KindAddressChanged Kind = "address-changed" // one of Retired
	KindHealthChanged  Kind = "health-changed"
	KindStrayFound     Kind = "stray-found"
	KindStrayGone      Kind = "stray-gone"
	KindProvisioned    Kind = "provisioned"
	KindRenamed        Kind = "renamed"
	KindEgressDenied   Kind = "egress-denied"

	KindPauseRequested  Kind = "pause-requested"
	KindResumeRequested Kind = "resume-requested"
)

// Retired are kinds that no engine writes. They keep their row and their payload, so
// that every journal that has one can be read for ever.
var Retired = []Kind{KindAddressChanged}

// The engine's own kinds: their Machine is empty.
const (
	KindEngineStarted Kind = "engine-started"
	KindEngineStopped Kind = "engine-stopped"
)

// Record is one durable fact. Records that move a state carry the state that
// they lead to and the name and CID that they claim, so that a fold can resume
// behind a damaged stretch.
type Record struct {
	Seq       uint64    // position in the journal, from 1; 0 until appended
	Time      time.Time // wall clock of the engine, UTC
	Machine   string    // machine id (UUIDv7); "" for the engine's own records
	Kind      Kind
	To        State  // the state it leads to; None where it moves none
	Name      string // the name claimed
	CID       uint32 // the CID claimed; 0 = none
	Principal string // who asked: "uid:0", "engine", …
	Reason    Reason
	Request   string // request id, "" where nobody asked
	Launch    string // launch id (UUIDv7), where it concerns one
	Fact      Fact   // what the kind says beyond that; never nil
}

// Fact is the typed payload of a record. Each kind has one type of its own.
type Fact interface{ Kind() Kind }

// Moment is a point on a clock that no one can set: time since the host
// booted, and which boot that was. Two moments of different boots can't be
// compared.
type Moment struct {
	Boot string        `cbor:"1,keyasint,omitempty" json:"boot,omitempty"` // host boot id
	Mono time.Duration `cbor:"2,keyasint,omitempty" json:"mono,omitempty"` // nanoseconds since that boot
}

// IsZero tells whether the moment was never set.
func (m Moment) IsZero() bool { return m == Moment{} }

// Add moves the moment by d.
func (m Moment) Add(d time.Duration) Moment { m.Mono += d; return m }

// Until is the time from now to m: at most 0 where m is past. Moments of
// another boot are past.
func (m Moment) Until(now Moment) time.Duration {
	if m.Boot != now.Boot {
		return 0
	}
	return m.Mono - now.Mono
}

// Kind implements Fact.
func (*CreatedFact) Kind() Kind { return KindCreated }

// Kind implements Fact.
func (*StartRequestedFact) Kind() Kind { return KindStartRequested }

// Kind implements Fact.
func (*RelaunchedFact) Kind() Kind { return KindRelaunched }

// Kind implements Fact.
func (*LaunchedFact) Kind() Kind { return KindLaunched }

// Kind implements Fact.
func (*ReadyFact) Kind() Kind { return KindReady }

// Kind implements Fact.
func (*StopRequestedFact) Kind() Kind { return KindStopRequested }

// Kind implements Fact.
func (*StopTightenedFact) Kind() Kind { return KindStopTightened }

// Kind implements Fact.
func (*StopAbandonedFact) Kind() Kind { return KindStopAbandoned }

// Kind implements Fact.
func (*ExitedFact) Kind() Kind { return KindExited }

// Kind implements Fact.
func (*RepairedFact) Kind() Kind { return KindRepaired }

// Kind implements Fact.
func (*RemovedFact) Kind() Kind { return KindRemoved }

// Kind implements Fact.
func (*AdoptedFact) Kind() Kind { return KindAdopted }

// Kind implements Fact.
func (*BootedFact) Kind() Kind { return KindBooted }

// Kind implements Fact.
func (*RebootedFact) Kind() Kind { return KindRebooted }

// Kind implements Fact.
func (*DesiredChangedFact) Kind() Kind { return KindDesiredChanged }

// Kind implements Fact.
func (*SpecChangedFact) Kind() Kind { return KindSpecChanged }

// Kind implements Fact.
func (*DiskFormattedFact) Kind() Kind { return KindDiskFormatted }

// Kind implements Fact.
func (*AddressChangedFact) Kind() Kind { return KindAddressChanged }

// Kind implements Fact.
func (*HealthChangedFact) Kind() Kind { return KindHealthChanged }

// Kind implements Fact.
func (*StrayFoundFact) Kind() Kind { return KindStrayFound }

// Kind implements Fact.
func (*StrayGoneFact) Kind() Kind { return KindStrayGone }

// Kind implements Fact.
func (*RenamedFact) Kind() Kind { return KindRenamed }

// Kind implements Fact.
func (*EngineStartedFact) Kind() Kind { return KindEngineStarted }

// Kind implements Fact.
func (*EngineStoppedFact) Kind() Kind { return KindEngineStopped }

var facts = map[Kind]func() Fact{
	KindCreated:        func() Fact { return &CreatedFact{} },
	KindStartRequested: func() Fact { return &StartRequestedFact{} },
	KindRelaunched:     func() Fact { return &RelaunchedFact{} },
	KindLaunched:       func() Fact { return &LaunchedFact{} },
	KindReady:          func() Fact { return &ReadyFact{} },
	KindStopRequested:  func() Fact { return &StopRequestedFact{} },
	KindStopTightened:  func() Fact { return &StopTightenedFact{} },
	KindStopAbandoned:  func() Fact { return &StopAbandonedFact{} },
	KindExited:         func() Fact { return &ExitedFact{} },
	KindRepaired:       func() Fact { return &RepairedFact{} },
	KindRemoved:        func() Fact { return &RemovedFact{} },
	KindAdopted:        func() Fact { return &AdoptedFact{} },
	KindBooted:         func() Fact { return &BootedFact{} },
	KindRebooted:       func() Fact { return &RebootedFact{} },
	KindDesiredChanged: func() Fact { return &DesiredChangedFact{} },
	KindSpecChanged:    func() Fact { return &SpecChangedFact{} },
	KindDiskFormatted:  func() Fact { return &DiskFormattedFact{} },
	KindAddressChanged: func() Fact { return &AddressChangedFact{} },
	KindHealthChanged:  func() Fact { return &HealthChangedFact{} },
	KindStrayFound:     func() Fact { return &StrayFoundFact{} },
	KindStrayGone:      func() Fact { return &StrayGoneFact{} },
	KindProvisioned:    func() Fact { return &ProvisionedFact{} },
	KindRenamed:        func() Fact { return &RenamedFact{} },
	KindEgressDenied:   func() Fact { return &EgressDeniedFact{} },

	KindPauseRequested:  func() Fact { return &PauseRequestedFact{} },
	KindResumeRequested: func() Fact { return &ResumeRequestedFact{} },

	KindEngineStarted: func() Fact { return &EngineStartedFact{} },
	KindEngineStopped: func() Fact { return &EngineStoppedFact{} },
}

// NewFact returns an empty payload of a kind for a decoder to fill, or nil
// where the kind is not known.
func NewFact(k Kind) Fact {
	if f := facts[k]; f != nil {
		return f()
	}
	return nil
}
