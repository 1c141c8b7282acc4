package hv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// CID is a vsock context id. Guests have 3 and up.
type CID uint32

// The CIDs that no machine gets.
const (
	CIDHypervisor CID = 0
	CIDLocal      CID = 1
	CIDHost       CID = 2
	CIDFirst      CID = 3 // the first that a machine may have
	CIDAny        CID = 0xFFFFFFFF
)

// Valid tells whether a machine may have the CID.
func (c CID) Valid() bool { return c >= CIDFirst && c < CIDAny }

// The vsock ports of the guest's agent: its services, and SSH. A dial to them
// starts with the launch's token (package guest/wire); a dial to any other port
// is raw.
const (
	AgentPort = 1024
	SSHPort   = 1022
)

// TokenPort tells whether a dial to a port starts with the token.
func TokenPort(port uint32) bool { return port == AgentPort || port == SSHPort }

// Backend names a driver.
type Backend string

// The backends.
const (
	BackendQEMU Backend = "qemu"
	BackendVZ   Backend = "vz"
	BackendSim  Backend = "sim"
)

// Accel names how a backend runs guest code.
type Accel string

// The accelerators of QEMU.
const (
	AccelAuto Accel = "auto" // KVM where a probe really ran guest code, else TCG
	AccelKVM  Accel = "kvm"
	AccelTCG  Accel = "tcg"
)

// The versions of Spec that this build reads. A spec has the lowest that can say
// what it says, so that an older VM host refuses only what it would leave out.
const (
	SpecVersion       = 1
	SpecVersionDisks  = 2 // it has Disks
	SpecVersionBoards = 3 // it has Board
	SpecVersionNIC    = 4 // it has NIC
	SpecVersionShares = 5 // it has Shares

	SpecVersionRosetta = 6 // it has Rosetta
	SpecVersionArch    = 7 // it has Arch
	SpecVersionVsock   = 8 // it has Vsock
	SpecVersionSaved   = 9 // it has Saved
)

// VsockBackend names who is behind a guest's vsock device.
type VsockBackend string

// The backends of vsock. The CIDs of one host's kernel are all of its programs': a
// launch whose CID somebody else has fails with ErrCIDTaken.
const (
	VsockUser   VsockBackend = "user"   // the driver
	VsockKernel VsockBackend = "kernel" // the host's kernel, by /dev/vhost-vsock
)

// Board names the machine that a backend builds around a guest.
type Board string

// The boards of QEMU.
const (
	BoardQ35     Board = "q35"     // a PC
	BoardMicroVM Board = "microvm" // less to build and to probe, with PCIe
	BoardVirt    Board = "virt"    // all that there is for arm64
)

// Spec is all that a VM host must know to run one launch. It reaches the VM
// host on its standard input, as JSON with a checksum. It holds no secret: the
// token is in the file that TokenFile names.
type Spec struct {
	Version   int     `json:"version"`
	Machine   string  `json:"machine"` // machine id
	Name      string  `json:"name"`    // for people reading ps; never trusted
	Launch    string  `json:"launch"`  // launch id
	CID       CID     `json:"cid"`
	Backend   Backend `json:"backend"`
	Accel     Accel   `json:"accel"`
	AccelNote string  `json:"accel_note,omitempty"` // why auto became what Accel says
	// AccelCache is a file in which the driver keeps, for one boot of the host,
	// what a probe of the accelerator found; "" = it probes at each start.
	AccelCache string `json:"accel_cache,omitempty"`
	CPUs       int    `json:"cpus"`
	Memory     int64  `json:"memory"` // bytes
	Kernel     string `json:"kernel"` // path: bzImage or PVH ELF
	Initrd     string `json:"initrd"` // path, the launch's token appended
	Cmdline    string `json:"cmdline"`
	TokenFile  string `json:"token_file"`           // path of a 0400 file with the token, 32 bytes
	Dir        string `json:"dir"`                  // the machine's directory: lock, exit note, consoles
	RunDir     string `json:"run_dir"`              // the machine's sockets
	Console    int64  `json:"console_max"`          // bytes of one console file; two are kept
	QEMU       string `json:"qemu,omitempty"`       // path of the QEMU binary; "" = by PATH
	Script     string `json:"script,omitempty"`     // of a sim VM
	VsockSock  bool   `json:"vsock_sock,omitempty"` // serve the CONNECT socket (VsockSocket)
	Disks      []Disk `json:"disks,omitempty"`      // in the order in which the guest finds them
	// NIC is the guest's network interface; nil = it has none.
	NIC *NIC `json:"nic,omitempty"`
	// Shares are directories of the host that the guest can mount. One that can't be
	// had is left out, and the VM runs without it (Sharer).
	Shares []Share `json:"shares,omitempty"`
	// Rosetta gives the guest Apple's translator of x86-64 programs, as one more share
	// (RosettaTag). Only BackendVZ has it.
	Rosetta bool `json:"rosetta,omitempty"`
	// Vsock is who is behind the guest's vsock; "" = user. Only BackendQEMU has the
	// kernel's.
	Vsock VsockBackend `json:"vsock,omitempty"`
	// Saved is what the guest of an earlier launch was written to (Saver), from which
	// this one goes on; "" = it boots. The file is good once: the driver removes it
	// before the guest goes on, and leaves it where the start fails before that.
	Saved string `json:"saved,omitempty"`
	// Board is the machine that the guest gets; "" = q35, or virt for arm64.
	Board Board `json:"board,omitempty"`
	// Arch is the guest's architecture; "" = amd64.
	Arch Arch `json:"arch,omitempty"`
	// BoardAccel says that the board was chosen for its kernel, and the accelerator
	// (auto = every one) with which that was tried: with any other the guest gets a
	// q35. "" = a person asked for the board.
	BoardAccel Accel `json:"board_accel,omitempty"`
	// TSCKHz is how fast the guest's time-stamp counter runs, where the driver
	// has to tell it; it finds out itself.
	TSCKHz int `json:"tsc_khz,omitempty"`
}

// Disk is a file, or a block device of the host, that the guest sees as a disk:
// raw, of the same size.
type Disk struct {
	Path     string `json:"path"` // absolute
	ReadOnly bool   `json:"read_only,omitempty"`
	Device   bool   `json:"device,omitempty"` // a block device
	Serial   string `json:"serial"`           // by which the guest finds it; no two of one VM's are the same
}

// NIC is a network interface. The driver listens at Socket for whoever carries
// its frames, for one at a time and again after each: four bytes of length, big
// endian, then an Ethernet frame.
type NIC struct {
	MAC    string `json:"mac"`
	MTU    int    `json:"mtu"`
	Socket string `json:"socket"` // path of a unix socket, absolute
}

// Share is a directory of the host that the guest mounts by its tag, as virtiofs.
type Share struct {
	Tag      string `json:"tag"`  // no two of one VM's are the same
	Path     string `json:"path"` // absolute; nothing on the way to it is a link
	Writable bool   `json:"writable,omitempty"`
}

// ShareState is how a share does on the host's side.
type ShareState struct {
	Tag   string `json:"tag"`
	Error string `json:"error,omitempty"` // "" = it is served
}

// MaxShares is how many shares a VM may have, and maxTag how long a tag is: less
// than virtiofs has room for.
const (
	MaxShares = 12
	maxTag    = 32
)

// VsockSocket is the name in RunDir of the CONNECT socket, by which other programs dial
// the guest.
const VsockSocket = "v.sock"

// RosettaTag is the tag of the share that Rosetta is.
const RosettaTag = "rosetta"

// Bounds of a spec's disks.
const (
	MaxDisks  = 16
	maxSerial = 20 // bytes; what virtio has room for

	// SectorSize is what the size of a disk is a multiple of.
	SectorSize = 512
)

// Env is what a VM host lends to the driver.
type Env struct {
	// Lock is the machine's lock file, locked. Every process that touches the
	// VM's disks inherits it, so that the lock frees when the last is dead.
	Lock *os.File
	// Fork starts a process from the VM host's main thread, with the
	// parent-death signal set where the platform has one. A driver starts
	// processes in no other way. attr.Files are the descriptors 0, 1, 2, …
	Fork func(path string, argv []string, attr *os.ProcAttr) (*os.Process, error)
	// Console and AgentLog take what the guest prints. They never block for
	// long, and never fail.
	Console, AgentLog interface{ Write([]byte) (int, error) }
	// Logf reports what a person may want to read after a failure.
	Logf func(format string, args ...any)
}

// Quiet is the same, with something in the place of what takes text and was not lent.
func (e Env) Quiet() Env {
	if e.Logf == nil {
		e.Logf = func(string, ...any) {}
	}
	if e.Console == nil {
		e.Console = io.Discard
	}
	if e.AgentLog == nil {
		e.AgentLog = io.Discard
	}
	return e
}

// ExitCause is why a VM ended, as its driver saw it.
type ExitCause string

// The causes that a driver reports.
const (
	ExitPoweredOff ExitCause = "powered-off"
	ExitKilled     ExitCause = "killed"  // by Kill
	ExitCrashed    ExitCause = "crashed" // the hypervisor ended by itself, or the guest reset before it was ready
	ExitPanic      ExitCause = "guest-panic"
	ExitFailed     ExitCause = "launch-failed" // it never ran guest code
	ExitCIDTaken   ExitCause = "cid-taken"     // likewise: somebody else on this host has its CID
	ExitSaved      ExitCause = "saved"         // its guest was written to a file, by Save
)

// Exit is how a VM ended.
type Exit struct {
	Cause  ExitCause `json:"cause"`
	Status int       `json:"status"`           // of the hypervisor's process; -1 = ended by a signal
	Detail string    `json:"detail,omitempty"` // a sentence for people
	Time   time.Time `json:"time"`
}

// EventKind names what a VM says before it ends.
type EventKind string

// The kinds of event.
const (
	EventExit     EventKind = "exit" // always the last
	EventRebooted EventKind = "rebooted"
	EventPaused   EventKind = "paused"  // by the hypervisor, e.g. the host's disk is full
	EventResumed  EventKind = "resumed" //
	EventPanicked EventKind = "panicked"
	EventShare    EventKind = "share" // one of its shares is lost (Sharer)
)

// Event is one thing that a VM said. Exit is set for EventExit only.
type Event struct {
	Kind EventKind `json:"kind"`
	Why  string    `json:"why,omitempty"`
	Exit *Exit     `json:"exit,omitempty"`
	Time time.Time `json:"time"`
}

// Capabilities says what a backend can do.
type Capabilities struct {
	PowerButton bool    `json:"power_button"`    // ACPI
	Reboot      bool    `json:"reboot"`          // implements Rebooter
	Listen      bool    `json:"listen"`          // guests can dial the host
	Grow        bool    `json:"grow,omitempty"`  // implements Grower
	Pause       bool    `json:"pause,omitempty"` // implements Pauser
	Save        bool    `json:"save,omitempty"`  // implements Saver
	Accels      []Accel `json:"accels,omitempty"`
}

// Driver makes VMs of one backend.
type Driver interface {
	// Name is the backend's.
	Name() Backend
	// Capabilities says what its VMs can do.
	Capabilities() Capabilities
	// Start runs a VM. On an error nothing is left running. ctx bounds the
	// start only.
	Start(ctx context.Context, spec Spec, env Env) (VM, error)
}

// VM is one running VM.
type VM interface {
	// Events yields what the VM says, EventExit last; then it is closed. It is
	// buffered, and has one reader: the VM host.
	Events() <-chan Event
	// PowerButton asks the guest to shut down.
	PowerButton(ctx context.Context) error
	// Kill ends the VM at once. EventExit follows. It may be called at any
	// time, and again.
	Kill(ctx context.Context) error
	// Dial connects to a vsock port of the guest. A port that nobody listens
	// on is refused at once (ECONNREFUSED). The connection has deadlines and
	// CloseWrite.
	Dial(ctx context.Context, port uint32) (net.Conn, error)
	// Listen takes the guest's connections to a vsock port of the host (CID 2).
	Listen(port uint32) (net.Listener, error)
}

// Rebooter is a VM that can be told what a reset of the guest means: before
// AllowReboot it ends the VM, after it the guest reboots.
type Rebooter interface {
	AllowReboot(ctx context.Context) error
}

// Grower is a VM whose disks can become larger while it runs.
type Grower interface {
	// GrowDisk makes the file of the disk with that serial at least as large as
	// size, and tells the guest. It never makes one smaller; what was done is done
	// again without harm.
	GrowDisk(ctx context.Context, serial string, size int64) error
}

// Pauser is a VM whose guest can be held still and let go on, each again without
// harm. Its events tell of both. A VM that is paused can be killed.
type Pauser interface {
	Pause(ctx context.Context) error
	Resume(ctx context.Context) error
}

// Saver is a VM whose guest can be written to a file, memory and devices, and go on
// from it in another VM (Spec.Saved), with another CID. Connections to it do not outlive
// that.
type Saver interface {
	// Save writes the guest to a new file at path, synced, which only the user can
	// read, and ends the VM: EventExit with ExitSaved follows. On an error the guest goes on, and there
	// is no file. A guest that is held still is not saved.
	Save(ctx context.Context, path string) error
}

// Accelerated is a VM that can say what it was built of: which accelerator auto
// became, and why; and the board.
type Accelerated interface {
	Accel() (Accel, string)
	Board() Board
}

// Sharer is a VM that has the shares of its spec, each or the reason why not.
type Sharer interface {
	Shares() []ShareState
}

// ErrUnsupported marks what a backend or this platform can't do.
var ErrUnsupported = errors.New("hv: not supported here")

// ErrCIDTaken is a launch whose CID somebody else on this host has.
var ErrCIDTaken = errors.New("hv: somebody else on this host has the CID")

// ErrGone is the answer of a VM that has ended.
var ErrGone = errors.New("hv: the VM has ended")

// Validate refuses a spec that no driver should see. It names the first field
// at fault.
func (s Spec) Validate() error {
	switch {
	case s.Version < SpecVersion || s.Version > SpecVersionSaved:
		return fmt.Errorf("hv: spec version %d: this VM host reads versions %d to %d", s.Version, SpecVersion, SpecVersionSaved)
	case s.Machine == "" || s.Launch == "":
		return errors.New("hv: spec names no machine or no launch")
	case !s.CID.Valid():
		return fmt.Errorf("hv: spec cid %d: a machine's is 3 to 4294967294", s.CID)
	case s.CPUs < 1:
		return fmt.Errorf("hv: spec cpus %d: at least 1", s.CPUs)
	case s.Memory < 64<<20:
		return fmt.Errorf("hv: spec memory %d bytes: at least 64 MiB", s.Memory)
	case s.Dir == "" || s.RunDir == "":
		return errors.New("hv: spec names no directory")
	case s.Saved != "" && s.Version < SpecVersionSaved:
		return fmt.Errorf("hv: spec version %d with a saved guest: version %d says what that is", s.Version, SpecVersionSaved)
	case s.Saved != "" && !filepath.IsAbs(s.Saved):
		return fmt.Errorf("hv: spec saved %q: an absolute path is needed", s.Saved)
	case s.Board != "" && s.Version < SpecVersionBoards:
		return fmt.Errorf("hv: spec version %d with a board: version %d says what that is", s.Version, SpecVersionBoards)
	case s.Board != "" && s.Board != BoardQ35 && s.Board != BoardMicroVM && s.Board != BoardVirt:
		return fmt.Errorf("hv: spec board %q: %s, %s or %s", s.Board, BoardQ35, BoardMicroVM, BoardVirt)
	}
	for _, check := range []func() error{s.validateArch, s.validateVsock, s.validateNIC, s.validateShares, s.validateDisks} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (s Spec) validateVsock() error {
	switch {
	case s.Vsock == "":
		return nil
	case s.Version < SpecVersionVsock:
		return fmt.Errorf("hv: spec version %d with a vsock: version %d says what that is", s.Version, SpecVersionVsock)
	case s.Vsock != VsockUser && s.Vsock != VsockKernel:
		return fmt.Errorf("hv: spec vsock %q: %s or %s", s.Vsock, VsockUser, VsockKernel)
	case s.Vsock == VsockKernel && s.Backend != BackendQEMU:
		return fmt.Errorf("hv: spec vsock %q: backend %q has none, only %q", s.Vsock, s.Backend, BackendQEMU)
	}
	return nil
}

func (s Spec) validateShares() error {
	switch n := len(s.Shares); {
	case n > 0 && s.Version < SpecVersionShares:
		return fmt.Errorf("hv: spec version %d with shares: version %d says what they are", s.Version, SpecVersionShares)
	case n > MaxShares:
		return fmt.Errorf("hv: spec shares: %d, at most %d", n, MaxShares)
	}
	switch {
	case s.Rosetta && s.Version < SpecVersionRosetta:
		return fmt.Errorf("hv: spec version %d with rosetta: version %d says what that is", s.Version, SpecVersionRosetta)
	case s.Rosetta && s.Backend != BackendVZ:
		return fmt.Errorf("hv: spec rosetta: backend %q has none, only %q", s.Backend, BackendVZ)
	}
	tags := map[string]bool{RosettaTag: s.Rosetta}
	for _, sh := range s.Shares {
		switch {
		case !filepath.IsAbs(sh.Path) || filepath.Clean(sh.Path) != sh.Path:
			return fmt.Errorf("hv: spec share %q: an absolute path is needed", sh.Path)
		case !isWord(sh.Tag, maxTag) || tags[sh.Tag]:
			return fmt.Errorf("hv: spec share tag %q: 1 to %d letters, digits and hyphens, no two the same", sh.Tag, maxTag)
		}
		tags[sh.Tag] = true
	}
	return nil
}

func (s Spec) validateNIC() error {
	if s.NIC == nil {
		return nil
	}
	mac, err := net.ParseMAC(s.NIC.MAC)
	switch {
	case s.Version < SpecVersionNIC:
		return fmt.Errorf("hv: spec version %d with a network interface: version %d says what that is", s.Version, SpecVersionNIC)
	case err != nil || len(mac) != 6 || mac[0]&1 != 0:
		return fmt.Errorf("hv: spec mac %q: six bytes that name one interface", s.NIC.MAC)
	case s.NIC.MTU < 576 || s.NIC.MTU > 65535:
		return fmt.Errorf("hv: spec mtu %d: 576 to 65535", s.NIC.MTU)
	case !filepath.IsAbs(s.NIC.Socket):
		return fmt.Errorf("hv: spec network socket %q: an absolute path is needed", s.NIC.Socket)
	}
	return nil
}

func (s Spec) validateDisks() error {
	switch n := len(s.Disks); {
	case n > 0 && s.Version < SpecVersionDisks:
		return fmt.Errorf("hv: spec version %d with disks: version %d says what they are", s.Version, SpecVersionDisks)
	case n > MaxDisks:
		return fmt.Errorf("hv: spec disks: %d, at most %d", n, MaxDisks)
	}
	serials := map[string]bool{}
	for _, d := range s.Disks {
		switch {
		case !filepath.IsAbs(d.Path):
			return fmt.Errorf("hv: spec disk %q: an absolute path is needed", d.Path)
		case !isWord(d.Serial, maxSerial) || serials[d.Serial]:
			return fmt.Errorf("hv: spec disk serial %q: 1 to %d letters, digits and hyphens, no two the same", d.Serial, maxSerial)
		}
		serials[d.Serial] = true
	}
	return nil
}

// Growable is the place of the disk that GrowDisk may make as large as size.
func Growable(disks []Disk, serial string, size int64) (int, error) {
	i := slices.IndexFunc(disks, func(d Disk) bool { return d.Serial == serial })
	switch {
	case i < 0:
		return 0, fmt.Errorf("hv: no disk of this VM has the serial %q", serial)
	case disks[i].ReadOnly || disks[i].Device:
		return 0, fmt.Errorf("hv: disk %q is no file that may be written to: it keeps its size", serial)
	case size <= 0 || size%SectorSize != 0:
		return 0, fmt.Errorf("hv: disk %q of %d bytes: whole sectors of %d bytes are needed", serial, size, SectorSize)
	}
	return i, nil
}

func isWord(s string, longest int) bool {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-"
	return s != "" && len(s) <= longest && strings.Trim(s, allowed) == ""
}
