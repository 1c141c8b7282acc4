package actors

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/google/uuid"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/fsm"
	"github.com/arcboxlabs/arcbox-engine/journal"
)

// Options is all that an engine is made of. Tests bring a fake clock, a
// scripted world and a crashable disk.
type Options struct {
	Journal *journal.Journal
	Clock   Clock
	Hosts   Hosts
	Guests  Guests
	Dirs    Dirs
	Owners  Owners
	// Networks is the machines' network; nil = there is none, and no machine that
	// wants one can be made.
	Networks Networks
	// FreePort gives an address of the host that nobody listens at, in place of
	// one with port 0; nil = such a port is refused.
	FreePort func(protocol, address string) (string, error)
	// Provisions set machines up; nil = machines that want it are refused.
	Provisions Provisions
	// Disks are the machines' own disks on their way elsewhere and here; nil = none
	// can be taken along.
	Disks Disks
	// CopyDisk copies the disk of a machine, whose lock is held, and keeps it, synced,
	// as nobody's: the stage that it names (see Disks). said hears how far it is.
	CopyDisk func(ctx context.Context, ref Ref, said func(done, all int64)) (stage string, err error)
	// Tickets lets a client reach open's bytes by a socket and a ticket that is
	// good once.
	Tickets func(principal string, open func(context.Context, *net.UnixConn) error) (socket, ticket string)
	// HoldImage makes sure that an image is there, and keeps it from being
	// removed until release is called. It waits for nobody.
	HoldImage func(digest string) (release func(), err error)
	// Booted waits until the init of a machine's image is ready.
	Booted func(ctx context.Context, ref Ref) (fsm.BootedFact, error)
	// Shares says how the shares of a VM do, in the order of its spec, Rosetta last: what is wrong
	// with each, "" = nothing. nil = nobody knows.
	Shares func(ctx context.Context, ref Ref, spec fsm.Spec) ([]string, error)
	// Grow makes the own disk of a machine that runs as large as size, and its file
	// system with it; what was done is done again without harm. nil = no disk grows
	// before its machine's next start.
	Grow func(ctx context.Context, ref Ref, size int64) error
	// AgentOf is the build of the agent that a machine would be given today, launched as
	// that spec says and with a kernel of that name; "" = nobody knows. It waits for
	// nobody. nil = nobody knows of any.
	AgentOf func(spec fsm.Spec, kernel string) string
	// Hold has a guest held still, or go on; what is so already stays so. A VM that
	// can't is ErrNoPause, and so is nil.
	Hold func(ctx context.Context, ref Ref, still bool) error
	// Save has a guest written to a file in the machine's directory and its VM ended: that
	// end follows. On an error the guest goes on. A VM that can't is ErrNoSave, and so is
	// nil.
	Save     func(ctx context.Context, ref Ref) error
	Limits   Limits
	AllowSim bool
	Version  string
	Home     string
	Pid      int
	Launches int // VM hosts being spawned at once
	// LastCID is where CIDs begin anew; 0 = where the protocol ends. Tests bring
	// a small one, so that they come round.
	LastCID uint32
	NewID   func() string
	// Stopped is called when a person asked the engine to end, and it may.
	Stopped func()
	// Fatal is called when the engine must not go on: a panic in the
	// supervisor or the journal's actor.
	Fatal func(error)
	Log   *slog.Logger
}

// What a person may leave out.
const (
	DefaultStart = fsm.UsualStart   // from launched to ready
	DefaultStop  = 30 * time.Second // until a guest that does not stop is killed
	MaxTimeout   = 24 * time.Hour
)

// How often things are looked at, and how long one look may take.
const (
	prepareTime   = 5 * time.Second  // lock and directory
	launchTime    = 30 * time.Second // a VM host's start
	lookTime      = 3 * time.Second
	killEvery     = time.Second
	lookAgain     = time.Second
	growTime      = 20 * time.Second // a disk and its file system, while the VM runs
	checkEvery    = 15 * time.Second
	checkAgain    = time.Second // while it is not well
	checkTime     = 5 * time.Second
	sharesTime    = 15 * time.Second // for VM host and guest to say how the shares do
	orphanAgain   = 5 * time.Second  // after a removal that its owner's end asked for, and that failed
	startAgain    = 5 * time.Second  // after a refused start that the state owes
	adoptionGrace = 10 * time.Second // after adoption, before a deadline counts
)

// shared is what all actors of one engine have in common.
type shared struct {
	Options
	sys      *actor.ActorSystem
	leases   *leases
	view     *View
	launches chan struct{} // one token a launch under way
	looks    chan struct{} // one token a look at boot
	reads    chan struct{} // one token a long answer from the journal
	sup      *actor.PID
	life     context.Context // until the engine ends
	started  time.Time
	since    uint64 // its engine-started
	boot     string
}

func (o *Options) fill() {
	if o.NewID == nil {
		o.NewID = func() string { return uuid.Must(uuid.NewV7()).String() }
	}
	if o.Launches < 1 {
		o.Launches = 2
	}
	if o.LastCID == 0 {
		o.LastCID = lastCID
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.HoldImage == nil {
		o.HoldImage = func(string) (func(), error) {
			return nil, refuse(wire.Code_CODE_LACKING, versionsHint, "this engine has no images")
		}
	}
	if o.Booted == nil {
		o.Booted = func(context.Context, Ref) (fsm.BootedFact, error) { return fsm.BootedFact{}, ErrNeverTold }
	}
	if o.Grow == nil {
		o.Grow = func(context.Context, Ref, int64) error { return errors.New("this engine has no way to") }
	}
	if o.Hold == nil {
		o.Hold = func(context.Context, Ref, bool) error { return ErrNoPause }
	}
	if o.Save == nil {
		o.Save = func(context.Context, Ref) error { return ErrNoSave }
	}
	if o.Stopped == nil {
		o.Stopped = func() {}
	}
}

// send sends to whoever asked, if anybody did.
func (s *shared) send(to *actor.PID, msg any) {
	if to != nil {
		s.sys.Root.Send(to, msg)
	}
}

// timeout is a client's wish within bounds.
func timeout(nanos int64, fallback time.Duration) time.Duration {
	if nanos <= 0 {
		return fallback
	}
	return min(time.Duration(nanos), MaxTimeout)
}

// refOf names a machine to the world outside.
func refOf(m fsm.Machine) Ref {
	ref := Ref{ID: m.ID, Name: m.Name, RunTag: m.RunTag}
	if m.Lease != nil {
		ref.MAC, ref.Address = m.Lease.MAC, m.Lease.Address
	}
	return ref
}
