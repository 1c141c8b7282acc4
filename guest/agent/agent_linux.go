package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// Bounds of the services.
const (
	maxStreams    = 256     // of one connection
	maxExecs      = 256     // of all
	maxCopies     = 32      // of all
	maxHeader     = 8 << 10 // bytes of one call's headers
	streamWindow  = 512 << 10
	connWindow    = 1 << 20
	handshakeTime = 10 * time.Second
	closeTime     = 500 * time.Millisecond // for clients to see that we go

	defaultGrace = 5 * time.Second
	maxGrace     = 5 * time.Minute
)

// Options is what an agent is made of.
type Options struct {
	Version string
	Token   []byte
	Log     *slog.Logger
	Phases  *Phases // of the boot; nil = none
	// Admit looks at who connects, before the token; nil = anybody.
	Admit func(net.Conn) error
	// CID is the guest's own; nil = unknown, 0.
	CID func() uint32
	// PowerOff begins a shutdown and returns at once; nil = there is none.
	PowerOff func(grace time.Duration)
	// Init is the image's init beside which the agent runs, Booted is closed when
	// that is ready; "" and nil = there is none.
	Init   string
	Booted <-chan struct{}
	// Shares are the launch's; nil = it has none.
	Shares *shares
	// Root is the machine's root directory, where set-ups are known; "" = "/".
	Root string
	// Replayed says that the machine's own disk was not unmounted before this boot.
	Replayed bool
	// Orphans says that all processes without a parent become ours.
	Orphans bool
}

// Agent serves the guest's side of the protocol. It is made by [New] and
// serves once.
type Agent struct {
	wire.UnsafeAgentServer // nothing but a mark: a method that is missing does not compile

	opts     Options
	id       string
	bootID   string
	children *children
	clock    clock
	execs    chan struct{}
	copies   chan struct{}
	disks    chan struct{}
	outlets  outlets
	forwards chan struct{}
	lookers  chan struct{}

	provisions provisions
}

// New makes an agent; it starts nothing.
func New(opts Options) (*Agent, error) {
	if len(opts.Token) != wire.TokenSize {
		return nil, fmt.Errorf("agent token: %d bytes, not %d", len(opts.Token), wire.TokenSize)
	}
	return &Agent{
		opts: opts,
		// The kernel's own generator: it never waits for entropy, which a
		// guest may lack for ever.
		id:       oneLine("/proc/sys/kernel/random/uuid"),
		bootID:   oneLine("/proc/sys/kernel/random/boot_id"),
		children: newChildren(opts.Orphans),
		clock:    systemClock,
		execs:    make(chan struct{}, maxExecs),
		copies:   make(chan struct{}, maxCopies),
		forwards: make(chan struct{}, maxForwards),
		lookers:  make(chan struct{}, maxLookers),
		disks:    make(chan struct{}, 1),

		provisions: provisions{root: cmp.Or(opts.Root, "/")},
	}, nil
}

// Serve serves on l until ctx is over; then it says goodbye to the clients,
// for at most half a second, ends every call, and returns nil.
func (a *Agent) Serve(ctx context.Context, l net.Listener) error {
	var running sync.WaitGroup
	collecting, stop := context.WithCancel(context.WithoutCancel(ctx))
	running.Go(func() { a.children.run(collecting) })
	defer running.Wait()
	defer stop()
	defer a.provisions.live(ctx)()

	s := newServer(a.opts.Log)
	wire.RegisterAgentServer(s, a)
	g := newGate(l, a.opts.Token, a.opts.Admit, map[string]func(net.Conn){
		wire.Beside: a.outlets.connect, wire.Forward: a.forward,
	}, a.opts.Log)
	defer func() { _ = g.Close() }()
	stopped := make(chan struct{})
	cancel := context.AfterFunc(ctx, func() {
		defer close(stopped)
		hard := time.AfterFunc(closeTime, s.Stop)
		defer hard.Stop()
		s.GracefulStop()
	})
	err := s.Serve(g)
	if !cancel() {
		<-stopped
	}
	if err != nil && !errors.Is(err, grpc.ErrServerStopped) && ctx.Err() == nil {
		return fmt.Errorf("agent: %w", err)
	}
	return nil
}

func newServer(log *slog.Logger) *grpc.Server {
	return grpc.NewServer(
		grpc.MaxRecvMsgSize(wire.MaxMessage),
		grpc.MaxSendMsgSize(wire.MaxMessage),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.MaxHeaderListSize(maxHeader),
		grpc.InitialWindowSize(streamWindow),
		grpc.InitialConnWindowSize(connWindow),
		grpc.ConnectionTimeout(handshakeTime),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: time.Minute, Timeout: 30 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
		grpc.UnaryInterceptor(func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (_ any, err error) {
			defer recovered(log, info.FullMethod, &err)
			return handler(ctx, req)
		}),
		grpc.StreamInterceptor(func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
			defer recovered(log, info.FullMethod, &err)
			return handler(srv, stream)
		}),
	)
}

// recovered makes an error of a handler's panic: the agent is process 1, and
// a fault in one call must not take the machine down.
func recovered(log *slog.Logger, method string, err *error) {
	if r := recover(); r != nil {
		log.Error("call panicked", "method", method, "panic", r)
		*err = status.Errorf(codes.Internal, "agent fault in %s", method)
	}
}

// Hello says who answers.
func (a *Agent) Hello(_ context.Context, req *wire.HelloRequest) (*wire.HelloReply, error) {
	if req.GetProtocol() == 0 {
		return nil, status.Error(codes.InvalidArgument, "protocol: 0, want the client's version, from 1")
	}
	abilities := []string{wire.AbilityTerminal, wire.AbilityLogin, wire.AbilityCopy, wire.AbilityBeside, wire.AbilityBoot, wire.AbilityProvision,
		wire.AbilityForward, wire.AbilityAddress, wire.AbilityTrim, wire.AbilityGrow, wire.AbilityUnplug,
		wire.AbilityListeners, wire.AbilityListen}
	if a.opts.Shares != nil {
		abilities = append(abilities, wire.AbilityShares)
	}
	return &wire.HelloReply{
		Protocol: wire.Protocol,
		Version:  a.opts.Version,
		AgentId:  a.id,
		BootId:   a.bootID,
		Cid:      a.cid(),
		Phases:   a.opts.Phases.all(),
		Data:     a.dataState(),

		Abilities: abilities,
	}, nil
}

// Ping echoes.
func (a *Agent) Ping(_ context.Context, req *wire.PingRequest) (*wire.PingReply, error) {
	if n := len(req.GetPayload()); n > wire.MaxChunk {
		return nil, status.Errorf(codes.InvalidArgument, "payload: %d bytes, at most %d", n, wire.MaxChunk)
	}
	return &wire.PingReply{Payload: req.GetPayload(), Version: a.opts.Version, UnixNanos: a.clock.now()}, nil
}

// AwaitBoot waits for the init.
func (a *Agent) AwaitBoot(ctx context.Context, _ *wire.AwaitBootRequest) (*wire.AwaitBootReply, error) {
	if a.opts.Booted != nil {
		select {
		case <-a.opts.Booted:
		case <-ctx.Done():
			return nil, status.FromContextError(ctx.Err()).Err()
		}
	}
	return &wire.AwaitBootReply{Init: a.opts.Init, Phases: a.opts.Phases.all()}, nil
}

// Shutdown begins a shutdown. The first of its steps takes longer than the
// reply needs, and the last waits for the clients.
func (a *Agent) Shutdown(_ context.Context, req *wire.ShutdownRequest) (*wire.ShutdownReply, error) {
	grace := time.Duration(req.GetGraceNanos())
	if grace < 0 || grace > maxGrace {
		return nil, status.Errorf(codes.InvalidArgument, "grace: %v, want 0 to %v", grace, maxGrace)
	}
	if a.opts.PowerOff == nil {
		return nil, status.Error(codes.Unimplemented, "this agent is not the machine's first process")
	}
	if grace == 0 {
		grace = defaultGrace
	}
	a.opts.PowerOff(grace)
	return &wire.ShutdownReply{}, nil
}

func (a *Agent) cid() uint32 {
	if a.opts.CID == nil {
		return 0
	}
	return a.opts.CID()
}

// Phases is how far the boot has come, in milliseconds since the kernel
// started. A nil Phases is empty.
type Phases struct {
	mu sync.Mutex
	at map[string]int64
}

// Mark notes that a step is done, now.
func (p *Phases) Mark(step string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.at == nil {
		p.at = make(map[string]int64)
	}
	p.at[step] = sinceBoot().Milliseconds()
}

func (p *Phases) all() map[string]int64 {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.at)
}

// oneLine is a file of one line, or "".
func oneLine(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
