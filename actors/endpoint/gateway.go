package endpoint

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/remote"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	grpcpeer "google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

// clientPrefix begins the address of every client.
const clientPrefix = "client:"

// Options are what a gateway needs; System and Log must be there.
type Options struct {
	System *actor.ActorSystem
	Log    *slog.Logger
	// Targets lists the messages that each actor takes; nil means wire.Requests.
	Targets map[string][]proto.Message
	Limits  Limits
}

// Limits bound what clients can make the engine hold. Zero means the default.
type Limits struct {
	Connections int           // 256
	PerProcess  int           // of them, of one process: half
	Envelopes   int           // in a batch: 256
	Queue       int           // requests without an answer, and answers not read, each, of a stream: 1024
	Held        int           // bytes of both, of all streams together: 64 MiB
	Refusals    int           // of one stream, before it is closed: 64
	Handshake   time.Duration // until the ConnectRequest is there: 5 s
}

func (l Limits) orDefault() Limits {
	return Limits{
		Connections: orDefault(l.Connections, 256),
		PerProcess:  orDefault(l.PerProcess, (orDefault(l.Connections, 256)+1)/2),
		Envelopes:   orDefault(l.Envelopes, 256),
		Queue:       orDefault(l.Queue, 1024),
		Held:        orDefault(l.Held, 64<<20),
		Refusals:    orDefault(l.Refusals, 64),
		Handshake:   orDefault(l.Handshake, 5*time.Second),
	}
}

func orDefault[T int | time.Duration](v, otherwise T) T {
	if v <= 0 {
		return otherwise
	}
	return v
}

// Gateway serves clients. Make it with New, before any actor runs: it adds
// itself to the system's address resolvers.
type Gateway struct {
	remote.UnimplementedRemotingServer
	system *actor.ActorSystem
	log    *slog.Logger
	check  *checker
	limits Limits
	budget *budget
	server *grpc.Server
	work   sync.WaitGroup // readers and writers

	mu     sync.RWMutex
	links  map[string]*link // by address
	last   uint64           // client number
	closed bool
}

// New makes a gateway; Serve starts it.
func New(o Options) *Gateway { return newGateway(o, ownOrRoot) }

func newGateway(o Options, allowed func(uid uint32) bool) *Gateway {
	if o.Targets == nil {
		o.Targets = wire.Requests()
	}
	g := &Gateway{system: o.System, log: o.Log, limits: o.Limits.orDefault(), links: map[string]*link{}}
	g.check = newChecker(o.Targets, g.limits.Envelopes)
	g.budget = newBudget(int64(g.limits.Held))
	g.server = grpc.NewServer(
		grpc.Creds(peerCredentials{allowed, g.log}),
		grpc.ConnectionTimeout(g.limits.Handshake),
		grpc.MaxConcurrentStreams(4),
		grpc.MaxRecvMsgSize(wire.MaxRequest),
		grpc.MaxSendMsgSize(wire.MaxReply+64<<10), // the envelope around it
		grpc.MaxHeaderListSize(16<<10),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 30 * time.Second, Timeout: 10 * time.Second, MaxConnectionIdle: time.Minute}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
		grpc.UnaryInterceptor(g.refuseUnary),
		grpc.UnknownServiceHandler(g.refuseUnknown),
		grpc.WaitForHandlers(true),
	)
	remote.RegisterRemotingServer(g.server, g)
	g.system.ProcessRegistry.RegisterAddressResolver(g.resolve)
	return g
}

// Serve answers clients on a unix socket until Close.
func (g *Gateway) Serve(lis net.Listener) error {
	err := g.server.Serve(newCapped(lis, g.limits.Connections, g.limits.PerProcess, g.log))
	if err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("endpoint: serve: %w", err)
	}
	return nil
}

// Close lets the replies that were already sent go out, as long as ctx allows,
// and ends every stream. The system's actors must not need it any more.
func (g *Gateway) Close(ctx context.Context) {
	g.mu.Lock()
	g.closed = true
	for _, l := range g.links {
		l.drain()
	}
	g.mu.Unlock()
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		g.server.GracefulStop()
	}()
	select {
	case <-stopped:
	case <-ctx.Done():
		g.server.Stop()
		<-stopped
	}
	g.work.Wait()
}

// Receive implements remote.RemotingServer: one client's stream.
func (g *Gateway) Receive(stream remote.Remoting_ReceiveServer) error {
	l, err := g.admit(stream)
	if err != nil {
		return err
	}
	go l.write()
	go l.read()
	<-l.done
	return l.err
}

// admit gives a stream its address.
func (g *Gateway) admit(stream remote.Remoting_ReceiveServer) (*link, error) {
	p, ok := grpcpeer.FromContext(stream.Context())
	if !ok {
		return nil, status.Error(codes.Internal, "no peer")
	}
	who, ok := p.AuthInfo.(peer)
	if !ok {
		return nil, status.Error(codes.Unauthenticated, "no peer credentials")
	}
	who.conn.called.Store(true)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil, errGoingDown
	}
	g.last++
	l := newLink(g, stream, fmt.Sprintf("%s%d", clientPrefix, g.last), who.principal, who.role)
	g.links[l.address] = l
	g.budget.open(l)
	g.work.Add(2)
	return l, nil
}

// leave forgets a link. Its reader calls it, when nothing more can come.
func (g *Gateway) leave(l *link, wasConnected bool) {
	g.mu.Lock()
	delete(g.links, l.address)
	g.mu.Unlock()
	g.budget.close(l)
	if !wasConnected {
		return
	}
	for id := range g.check.targets {
		if _, ok := g.system.ProcessRegistry.GetLocal(id); ok {
			g.system.Root.Send(g.system.NewLocalPID(id), &wire.ClientGone{Address: l.address})
		}
	}
}

// resolve finds the process behind a client's PID. Every address of a client
// is ours, so that a reply to one that has gone is dropped here.
func (g *Gateway) resolve(pid *actor.PID) (actor.Process, bool) {
	if !strings.HasPrefix(pid.GetAddress(), clientPrefix) {
		return nil, false
	}
	g.mu.RLock()
	defer g.mu.RUnlock()
	if l, ok := g.links[pid.GetAddress()]; ok {
		return l, true
	}
	return nobody{}, true
}

// nobody stands for a client that has gone.
type nobody struct{}

func (nobody) SendUserMessage(*actor.PID, any)   {}
func (nobody) SendSystemMessage(*actor.PID, any) {}
func (nobody) Stop(*actor.PID)                   {}

func (g *Gateway) refuseUnary(ctx context.Context, _ any, info *grpc.UnaryServerInfo, _ grpc.UnaryHandler) (any, error) {
	return nil, g.unimplemented(ctx, info.FullMethod)
}

func (g *Gateway) refuseUnknown(_ any, stream grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(stream)
	return g.unimplemented(stream.Context(), method)
}

func (g *Gateway) unimplemented(ctx context.Context, method string) error {
	var who peer
	if p, ok := grpcpeer.FromContext(ctx); ok {
		if who, ok = p.AuthInfo.(peer); ok {
			who.conn.called.Store(true)
		}
	}
	g.log.Warn("refused a call", "principal", who.principal, "method", short(method))
	return status.Error(codes.Unimplemented, "only remote.Remoting/Receive is served")
}
