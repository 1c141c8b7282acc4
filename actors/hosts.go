package actors

import (
	"context"
	"errors"
	"net"
	"os"
	"time"

	"github.com/arcboxlabs/arcbox-engine/fsm"
)

// Ref names one machine to the world outside.
type Ref struct {
	ID     string // names its directory
	Name   string // for people
	RunTag string // names the directory of its sockets
	// What it has on the network; "" = nothing.
	MAC, Address string
}

// Lock is a machine's lock, held by the engine. It frees when it is closed and
// no process that it was handed to lives.
type Lock interface {
	Close() error
}

// Order is what a VM host is asked to run.
type Order struct {
	Launch string
	CID    uint32
	Spec   fsm.Spec
	Seed   bool        // the guest is to find the machine's user-data
	Of     *fsm.Origin // the machine that its disk was copied of; nil = none
	Saved  bool        // go on from the guest that was saved
}

// VMExit is how a VM ended, as its VM host reported it or noted it down.
type VMExit struct {
	Cause  fsm.Cause
	Status int
	Detail string
	Time   time.Time
	Note   bool // learnt from the exit note
}

// VMEvent is a thing that a running VM said.
type VMEvent string

// The events of a running VM.
const (
	VMAnswered VMEvent = "answered" // the VM host is there
	VMRebooted VMEvent = "rebooted"
	VMPaused   VMEvent = "paused"
	VMResumed  VMEvent = "resumed"
	VMPanicked VMEvent = "panicked"
	VMShare    VMEvent = "share" // one is lost
)

// Sight is what the lock and the VM host say of a machine: a column of Table 2
// and what belongs to it.
type Sight struct {
	Found   fsm.Finding
	Lock    Lock    // held by us now, where Found is one of the free ones
	Exit    *VMExit // from the exit note
	Launch  string  // of the VM host that answered
	CID     uint32
	Version string // of the VM host that answered
}

// ErrLockHeld is the refusal of a lock that somebody else holds.
var ErrLockHeld = errors.New("the machine's lock is held by a VM host that the journal does not know")

// ErrCIDTaken is a launch whose CID somebody else on this host has, who is no machine
// of this engine. Nothing of the launch is left.
var ErrCIDTaken = errors.New("somebody else on this host has that CID")

// ErrNeverTold means that nobody will ever say whether a guest has booted.
var ErrNeverTold = errors.New("this guest does not tell when it has booted")

// Hosts are the VM hosts and the locks. It is implemented by package
// actors/hosts, and by a scripted world in package actors/actorstest.
type Hosts interface {
	// Prepare checks what a launch needs, makes the machine's directory where
	// there is none, and takes its lock. A *Refusal says what is missing. A disk
	// of the machine that is not among the formatted ones is made, empty, and
	// returned as made; one that is among them is never made again.
	Prepare(ctx context.Context, ref Ref, spec fsm.Spec, formatted []string) (lock Lock, made []fsm.DiskFormattedFact, err error)
	// Launch spawns a VM host and hands the lock down. After an error nothing
	// runs: the lock that it returns is held (the one given, or taken anew).
	// It returns a nil lock and an error only where ctx was over first.
	Launch(ctx context.Context, ref Ref, lock Lock, o Order) (fsm.LaunchedFact, Lock, error)
	// Look tells what is there.
	Look(ctx context.Context, ref Ref, launch string) (Sight, error)
	// Watch reports what a launch's VM says until it has ended (nil), or until
	// the VM host no longer answers (an error).
	Watch(ctx context.Context, ref Ref, launch string, each func(VMEvent, string)) error
	// Kill ends whatever VM host holds the machine's lock, without waiting for
	// its end.
	Kill(ctx context.Context, ref Ref) error
}

// Guests are the insides of VMs.
type Guests interface {
	// Ready waits until the guest is usable.
	Ready(ctx context.Context, ref Ref) (fsm.ReadyFact, error)
	// Arm tells the VM host that the guest may reboot from now on.
	Arm(ctx context.Context, ref Ref) error
	// Check tells whether the guest still answers.
	Check(ctx context.Context, ref Ref) error
	// Shutdown asks the guest to shut down: by its agent, else by the power button.
	Shutdown(ctx context.Context, ref Ref) error
	// Open joins a client's connection with a vsock port of the guest. The
	// bytes no longer pass through the engine when it returns.
	Open(ctx context.Context, ref Ref, port uint32, client *os.File) error
}

// Provisions are the machines' first-boot set-ups.
type Provisions interface {
	// Keep keeps the script or the user-data of a machine that is about to be
	// created, synced, in the machine's directory.
	Keep(ctx context.Context, ref Ref, text []byte) error
	// Forget takes away what Keep and Disks.Adopt left for a machine that was never
	// created: the whole directory, unless there is anything else in it.
	Forget(ctx context.Context, ref Ref) error
	// Provision has the guest set up, or joins what an engine before this one
	// began, and awaits the result. An error says that nobody answered: it may be
	// tried again.
	Provision(ctx context.Context, ref Ref, p fsm.Provision) (fsm.ProvisionedFact, error)
}

// Disks are the machines' own disks, on their way elsewhere and here.
type Disks interface {
	// Send writes the disk of a machine, whose lock is held, to a connection. It does
	// not say there that this was all.
	Send(ctx context.Context, ref Ref, to net.Conn) error
	// Receive takes a disk from a connection and keeps it, synced, as nobody's: the
	// stage that it names.
	Receive(ctx context.Context, from net.Conn) (stage string, err error)
	// Drop removes a stage, unless a machine has it by now.
	Drop(stage string)
	// Adopt makes a stage the disk, of at most size bytes, of a machine that is about
	// to be created. What it does is taken away again by Forget (see Provisions), also
	// by that of a later engine, until Own is called.
	Adopt(ctx context.Context, ref Ref, stage string, size int64) error
	// Own makes a machine's disk its own for good: there is a record of it.
	Own(ctx context.Context, ref Ref) error
}

// Owners are the commands that machines live for.
type Owners interface {
	// Gone waits until an owner has ended. An error says that nobody can tell.
	Gone(ctx context.Context, owner string) error
}

// Wish is what a machine needs of the network.
type Wish struct {
	Egress    string
	Ports     []fsm.Port
	AutoPorts bool // and those that its guest listens at
}

// NetworkState is how a machine's network does, as far as is known.
type NetworkState struct {
	Linked  bool
	Trouble string // why nothing is known; "" = all is well
	Denied  uint64
	Denials []fsm.Denial // the first of the policy in force
	Egress  string       // the policy in force, "allow" too; "" = nobody has said
	Ports   []PortState
	// AutoTrouble is why not all that the guest listens at has a forward.
	AutoTrouble string
}

// PortState is how one forward does.
type PortState struct {
	fsm.Port
	Auto  bool   // it is there because the guest listens
	Error string // "" = it listens
}

// Networks is the engine's network. It is implemented by package actors/hosts;
// nil is an engine without one.
type Networks interface {
	// Want says what a machine needs, nil = nothing. It waits for nothing, and
	// may be told the same again and again.
	Want(ref Ref, w *Wish)
	// Known is what was last heard of a machine; false = nothing.
	Known(ref Ref) (NetworkState, bool)
}

// Dirs are the machines' directories.
type Dirs interface {
	// Delete removes a machine's directory and sockets, its lock held.
	Delete(ctx context.Context, ref Ref, lock Lock) error
	// IDs lists the directories that there are.
	IDs(ctx context.Context) ([]string, error)
	// Tail is the end of the console, for people.
	Tail(ref Ref) string
	// Log copies a log ("console", "agent" or "provision") to w, from its last bytes on,
	// and follows it where asked until ctx is over or w fails.
	Log(ctx context.Context, ref Ref, which string, tail int64, follow bool, w net.Conn) error
	// Path is the machine's directory and the directory of its sockets.
	Path(ref Ref) (dir, run string)
}
