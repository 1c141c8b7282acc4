package fsm

import "time"

// CreatedFact is the payload of created.
type CreatedFact struct {
	Spec   Spec   `cbor:"1,keyasint" json:"spec"`
	RunTag string `cbor:"2,keyasint" json:"run_tag"` // short name of the directory that holds its sockets
	Lease  *Lease `cbor:"3,keyasint,omitempty" json:"lease,omitempty"`
	// Of is the machine that it is a clone of; nil = of none.
	Of *Origin `cbor:"20,keyasint,omitempty" json:"of,omitempty"`
}

// Origin is a machine of which another is a clone, as it was called then.
type Origin struct {
	ID   string `cbor:"1,keyasint" json:"id"`
	Name string `cbor:"2,keyasint" json:"name"`
}

// StartRequestedFact is the payload of start-requested.
type StartRequestedFact struct {
	Boot    string        `cbor:"1,keyasint" json:"boot"`                            // host boot id
	Allowed time.Duration `cbor:"2,keyasint" json:"allowed"`                         // from launched to ready
	Attempt int           `cbor:"3,keyasint,omitempty" json:"attempt,omitempty"`     // of the restart policy; 0 = a person
	Spec    string        `cbor:"4,keyasint,omitempty" json:"spec_digest,omitempty"` // SHA-256 of the VM spec
	Saved   bool          `cbor:"5,keyasint,omitempty" json:"saved,omitempty"`       // it goes on from the guest that was saved
}

// RelaunchedFact is the payload of relaunched.
type RelaunchedFact struct {
	Why       string `cbor:"1,keyasint" json:"why"`
	OldLaunch string `cbor:"2,keyasint" json:"old_launch"`
	OldCID    uint32 `cbor:"3,keyasint" json:"old_cid"`
	// Taken says that the old CID was a stranger's: the guest has not had its try.
	// Records of the formats before 6 never say so, also where the CID is another.
	Taken bool `cbor:"4,keyasint,omitempty" json:"taken,omitempty"`
}

// LaunchedFact is the payload of launched.
type LaunchedFact struct {
	At      Moment `cbor:"1,keyasint" json:"at"`
	Driver  string `cbor:"2,keyasint,omitempty" json:"driver,omitempty"`
	Version string `cbor:"3,keyasint,omitempty" json:"version,omitempty"` // of the VM host
	Accel   string `cbor:"4,keyasint,omitempty" json:"accel,omitempty"`
	Note    string `cbor:"5,keyasint,omitempty" json:"note,omitempty"` // e.g. why not KVM
	// Kernel is the name of its kernel, "" where the spec named a file, Release
	// that kernel's release, and Board what the VM was built as.
	Kernel  string `cbor:"20,keyasint,omitempty" json:"kernel,omitempty"`
	Release string `cbor:"21,keyasint,omitempty" json:"release,omitempty"`
	Board   string `cbor:"22,keyasint,omitempty" json:"board,omitempty"`
}

// ReadyFact is the payload of ready.
type ReadyFact struct {
	AgentVersion string `cbor:"1,keyasint,omitempty" json:"agent_version,omitempty"`
	AgentID      string `cbor:"2,keyasint,omitempty" json:"agent_id,omitempty"`   // agent start id
	GuestBoot    string `cbor:"3,keyasint,omitempty" json:"guest_boot,omitempty"` // the guest's boot id
	Address      string `cbor:"4,keyasint,omitempty" json:"address,omitempty"`
	// Phases of the boot, in milliseconds since the VM host started the VM.
	Phases map[string]int64 `cbor:"5,keyasint,omitempty" json:"phases,omitempty"`
	At     Moment           `cbor:"6,keyasint" json:"at"`
	Disk   *DiskFound       `cbor:"7,keyasint,omitempty" json:"disk,omitempty"`
}

// DiskFound is how a guest found the machine's own disk, where the launch before
// did not end cleanly, or the file system counts errors.
type DiskFound struct {
	After    Cause     `cbor:"1,keyasint,omitempty" json:"after,omitempty"` // how that ended
	Ended    time.Time `cbor:"2,keyasint,omitzero" json:"ended,omitzero"`
	Replayed bool      `cbor:"3,keyasint,omitempty" json:"replayed,omitempty"` // what was written last was taken from its log
	Errors   uint64    `cbor:"4,keyasint,omitempty" json:"errors,omitempty"`   // that it counts
}

// StopMode is how a machine is stopped.
type StopMode string

// The modes of a stop.
const (
	StopGraceful StopMode = "graceful"
	StopKill     StopMode = "kill"
	StopSave     StopMode = "save" // its guest is written to a file; it never kills
)

// StopRequestedFact is the payload of stop-requested.
type StopRequestedFact struct {
	Mode     StopMode `cbor:"1,keyasint" json:"mode"`
	Deadline Moment   `cbor:"2,keyasint" json:"deadline"`
	NoKill   bool     `cbor:"3,keyasint,omitempty" json:"no_kill,omitempty"` // past the deadline, give up instead of killing
	Then     Then     `cbor:"4,keyasint,omitempty" json:"then,omitempty"`
}

// StopTightenedFact is the payload of stop-tightened: the whole new stop.
type StopTightenedFact struct {
	Mode     StopMode `cbor:"1,keyasint" json:"mode"`
	Deadline Moment   `cbor:"2,keyasint" json:"deadline"`
	NoKill   bool     `cbor:"3,keyasint,omitempty" json:"no_kill,omitempty"`
	Then     Then     `cbor:"4,keyasint,omitempty" json:"then,omitempty"`
}

// StopAbandonedFact is the payload of stop-abandoned.
type StopAbandonedFact struct {
	Why string `cbor:"1,keyasint" json:"why"`
}

// Plan says whether and when the restart policy starts a machine again.
type Plan struct {
	Start     bool      `cbor:"1,keyasint,omitempty" json:"start"`
	Attempt   int       `cbor:"2,keyasint,omitempty" json:"attempt,omitempty"` // failures in a row, this one included
	NotBefore time.Time `cbor:"3,keyasint,omitempty" json:"not_before,omitzero"`
	Resting   bool      `cbor:"4,keyasint,omitempty" json:"resting,omitempty"` // it gave up after MaxAttempts
	// Allowed is the time of the start that ended, from launched to ready, where it
	// was more than UsualStart, and UnaskedMost at the most: the next one that nobody
	// asks for has it, too.
	Allowed time.Duration `cbor:"5,keyasint,omitempty" json:"allowed,omitempty"`
}

// ExitedFact is the payload of exited.
type ExitedFact struct {
	Cause  Cause  `cbor:"1,keyasint" json:"cause"`
	Status int    `cbor:"2,keyasint,omitempty" json:"status,omitempty"` // exit status of the hypervisor, -1 = by signal
	Detail string `cbor:"3,keyasint,omitempty" json:"detail,omitempty"`
	Note   bool   `cbor:"4,keyasint,omitempty" json:"note,omitempty"` // learnt from the exit note
	Tail   string `cbor:"5,keyasint,omitempty" json:"tail,omitempty"` // last lines of the console
	Plan   Plan   `cbor:"6,keyasint" json:"plan"`
}

// RepairedFact is the payload of repaired.
type RepairedFact struct {
	Said  State  `cbor:"1,keyasint" json:"said"`  // what the journal said
	Found string `cbor:"2,keyasint" json:"found"` // what was found
	Cause Cause  `cbor:"3,keyasint" json:"cause"`
	Plan  Plan   `cbor:"4,keyasint" json:"plan"`
	Tail  string `cbor:"5,keyasint,omitempty" json:"tail,omitempty"`
}

// RemovedFact is the payload of removed.
type RemovedFact struct{}

// AdoptedFact is the payload of adopted.
type AdoptedFact struct {
	At      Moment `cbor:"1,keyasint" json:"at"`
	Version string `cbor:"2,keyasint,omitempty" json:"version,omitempty"` // of the VM host
}

// BootedFact is the payload of booted: the distribution's init is ready.
type BootedFact struct {
	// Phases of the boot, in milliseconds since the guest's kernel started.
	Phases map[string]int64 `cbor:"1,keyasint,omitempty" json:"phases,omitempty"`
	Init   string           `cbor:"2,keyasint,omitempty" json:"init,omitempty"` // its path; "" = the image has none
}

// RebootedFact is the payload of rebooted.
type RebootedFact struct {
	// Times is how often, where the guest rebooted faster than is written down;
	// 0 = once.
	Times int `cbor:"1,keyasint,omitempty" json:"times,omitempty"`
	// Anew: what boots behind the agent begins anew, so that booted is owed again.
	// Records of the formats before 5 leave it as it was.
	Anew bool `cbor:"2,keyasint,omitempty" json:"anew,omitempty"`
}

// DesiredChangedFact is the payload of desired-changed.
type DesiredChangedFact struct {
	Desired Desired `cbor:"1,keyasint" json:"desired"`
}

// SpecChangedFact is the payload of spec-changed: the whole new spec.
type SpecChangedFact struct {
	Spec Spec `cbor:"1,keyasint" json:"spec"`
	// Grown is what the disk of the VM that runs was made as large as, in bytes; 0 =
	// the VM goes on as it is.
	Grown int64 `cbor:"2,keyasint,omitempty" json:"grown,omitempty"`
}

// RenamedFact is the payload of renamed. The record's own name is the new one.
type RenamedFact struct {
	From string `cbor:"1,keyasint" json:"from"`
}

// DataDisk is the machine's own disk, as disk-formatted names it.
const DataDisk = "data"

// DiskFormattedFact is the payload of disk-formatted: an empty file system was
// made on the disk, and never will be again. Of a machine that was never started,
// it is a disk with what another wrote to it.
type DiskFormattedFact struct {
	Disk string `cbor:"1,keyasint" json:"disk"`
	Size int64  `cbor:"2,keyasint,omitempty" json:"size,omitempty"` // bytes
}

// AddressChangedFact is the payload of address-changed, which is retired: a machine's
// address is its own for life.
type AddressChangedFact struct {
	Address string `cbor:"1,keyasint" json:"address"`
}

// HealthChangedFact is the payload of health-changed.
type HealthChangedFact struct {
	Health Health `cbor:"1,keyasint" json:"health"`
}

// StrayFoundFact is the payload of stray-found: a VM runs that the journal
// does not know of. Its CID stays reserved.
type StrayFoundFact struct {
	Launch string `cbor:"1,keyasint,omitempty" json:"launch,omitempty"` // "" where it is mute
	CID    uint32 `cbor:"2,keyasint,omitempty" json:"cid,omitempty"`
	What   string `cbor:"3,keyasint" json:"what"`
}

// StrayGoneFact is the payload of stray-gone.
type StrayGoneFact struct{}

// EngineStartedFact is the payload of engine-started.
type EngineStartedFact struct {
	Version string `cbor:"1,keyasint" json:"version"`
	Boot    string `cbor:"2,keyasint" json:"boot"`
}

// EngineStoppedFact is the payload of engine-stopped.
type EngineStoppedFact struct {
	Machines bool `cbor:"1,keyasint,omitempty" json:"machines,omitempty"` // the machines were stopped as well
}
