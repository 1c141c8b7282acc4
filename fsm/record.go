package fsm

import (
	"reflect"
	"time"
)

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

// Spec is what a person asked a machine to be. Version 1.
type Spec struct {
	Version int    `cbor:"1,keyasint" json:"version"`
	CPUs    int    `cbor:"2,keyasint" json:"cpus"`
	Memory  int64  `cbor:"3,keyasint" json:"memory"`           // bytes
	Kernel  string `cbor:"4,keyasint,omitempty" json:"kernel"` // absolute path, or a name in the store; "" = the store's choice
	Initrd  string `cbor:"5,keyasint,omitempty" json:"initrd"` // absolute path; "" = the engine's own
	Cmdline string `cbor:"6,keyasint,omitempty" json:"cmdline"`
	Backend string `cbor:"7,keyasint,omitempty" json:"backend"` // "qemu", "vz", "sim"
	Accel   string `cbor:"8,keyasint,omitempty" json:"accel"`   // "auto", "kvm", "tcg"
	Restart Policy `cbor:"9,keyasint,omitempty" json:"restart"`
	// Script is what a sim machine does; only backend "sim" reads it.
	Script string `cbor:"10,keyasint,omitempty" json:"script,omitempty"`
	// Board is what its VM is built as, "q35" or "microvm"; "" = as boots of its
	// kernel showed, or the one that its architecture has.
	Board string `cbor:"30,keyasint,omitempty" json:"board,omitempty"`
	// Arch is its architecture, as Go names it; "" = its host's.
	Arch string `cbor:"90,keyasint,omitempty" json:"arch,omitempty"`
	// Image is the digest of the machine's image, ImageName what it was asked for
	// by, and Disk the size of its data disk in bytes. A machine has both or neither.
	Image     string `cbor:"11,keyasint,omitempty" json:"image,omitempty"`
	ImageName string `cbor:"12,keyasint,omitempty" json:"image_name,omitempty"`
	Disk      int64  `cbor:"13,keyasint,omitempty" json:"disk,omitempty"`
	// Blocks are the disks beside its own.
	Blocks []Block `cbor:"20,keyasint,omitempty" json:"blocks,omitempty"`
	// Owner names the command that the machine lives for: with its end the machine
	// is removed. "" = it has none, and stays.
	Owner string `cbor:"24,keyasint,omitempty" json:"owner,omitempty"`
	// Network is one of the networks; Egress where it may connect to (package
	// hv/network/egress), "" = anywhere; Ports are its forwards, and with AutoPorts
	// what its guest listens at has some, too.
	Network   string `cbor:"40,keyasint,omitempty" json:"network,omitempty"`
	Egress    string `cbor:"41,keyasint,omitempty" json:"egress,omitempty"`
	Ports     []Port `cbor:"42,keyasint,omitempty" json:"ports,omitempty"`
	AutoPorts bool   `cbor:"43,keyasint,omitempty" json:"auto_ports,omitempty"`
	// Shares are directories of the host that its guest has mounted.
	Shares []Share `cbor:"50,keyasint,omitempty" json:"shares,omitempty"`
	// Rosetta has its guest run x86-64 programs on Apple silicon; only backend "vz"
	// has it.
	Rosetta bool `cbor:"51,keyasint,omitempty" json:"rosetta,omitempty"`
	// Vsock is who is behind its guest's vsock: "kernel", the host's; "" = the VM host.
	Vsock string `cbor:"52,keyasint,omitempty" json:"vsock,omitempty"`
	// Provision is its first-boot set-up; nil = there is none.
	Provision *Provision `cbor:"60,keyasint,omitempty" json:"provision,omitempty"`
	// Labels are a person's own words, nil = there are none; Protected keeps the
	// machine from being removed.
	Labels    map[string]string `cbor:"80,keyasint,omitempty" json:"labels,omitempty"`
	Protected bool              `cbor:"81,keyasint,omitempty" json:"protected,omitempty"`
}

// Networks that a machine may have. "" is none: machines made before there were
// any have none.
const (
	NetworkNAT  = "nat"
	NetworkNone = ""
)

// Port is a socket of the host that leads to one of the guest.
type Port struct {
	Protocol string `cbor:"1,keyasint" json:"protocol"` // tcp, udp, unix
	Listen   string `cbor:"2,keyasint" json:"listen"`   // of the host: address and port, or a path
	To       string `cbor:"3,keyasint" json:"to"`       // of the guest: a port, or a path
	// In: the guest's socket leads to the host's, instead; of unix only.
	In bool `cbor:"4,keyasint,omitempty" json:"in,omitempty"`
}

// Lease is what a machine has on its engine's network, for its life.
type Lease struct {
	MAC     string `cbor:"1,keyasint" json:"mac"`
	Address string `cbor:"2,keyasint" json:"address"`
}

// Equal tells whether two specs say the same.
func (s Spec) Equal(o Spec) bool { return reflect.DeepEqual(s, o) }

// Block is a file, or a block device of the host, that a machine has as a disk.
type Block struct {
	Path     string `cbor:"1,keyasint" json:"path"` // absolute
	ReadOnly bool   `cbor:"2,keyasint,omitempty" json:"read_only,omitempty"`
	Serial   string `cbor:"3,keyasint" json:"serial"` // by which the guest finds it, for ever
}

// Share is a directory of the host that a machine's guest has mounted.
type Share struct {
	Host     string `cbor:"1,keyasint" json:"host"`  // absolute, without links on the way
	Guest    string `cbor:"2,keyasint" json:"guest"` // absolute
	Writable bool   `cbor:"3,keyasint,omitempty" json:"writable,omitempty"`
}

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
	KindEngineStarted:  func() Fact { return &EngineStartedFact{} },
	KindEngineStopped:  func() Fact { return &EngineStoppedFact{} },
}

// NewFact returns an empty payload of a kind for a decoder to fill, or nil
// where the kind is not known.
func NewFact(k Kind) Fact {
	if f := facts[k]; f != nil {
		return f()
	}
	return nil
}
