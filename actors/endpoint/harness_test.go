package endpoint

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/remote"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 10 * time.Second

// logged keeps the lines of level warn and above.
type logged struct {
	slog.Handler
	mu    *sync.Mutex
	lines *[]string
}

func newLogged() logged {
	return logged{slog.DiscardHandler, new(sync.Mutex), new([]string)}
}

func (l logged) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }
func (l logged) WithAttrs([]slog.Attr) slog.Handler               { return l }
func (l logged) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	line := r.Message
	r.Attrs(func(a slog.Attr) bool { line += fmt.Sprintf(" %s=%v", a.Key, a.Value); return true })
	*l.lines = append(*l.lines, line)
	return nil
}

func (l logged) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), *l.lines...)
}

// engine is an actor system with scripted targets behind a gateway.
type engine struct {
	system  *actor.ActorSystem
	gateway *Gateway
	log     logged
	socket  string
	gone    chan string // ClientGone, as the supervisor saw it
	stopped chan struct{}
}

func quiet(*actor.ActorSystem) *slog.Logger { return slog.New(slog.DiscardHandler) }

// startEngine serves a supervisor that answers ListMachines, echoes who asked
// to InspectMachine, and never answers AwaitMachine. There is no journal.
func startEngine(t testing.TB, limits Limits, allowed func(uint32) bool) *engine {
	t.Helper()
	e := &engine{log: newLogged(), gone: make(chan string, 4096), stopped: make(chan struct{})}
	e.system = actor.NewActorSystem(actor.WithLoggerFactory(quiet), actor.WithDeadLetterThrottleInterval(time.Millisecond))
	e.gateway = newGateway(Options{System: e.system, Log: slog.New(e.log), Limits: limits}, allowed)
	_, err := e.system.Root.SpawnNamed(actor.PropsFromFunc(e.supervisor), wire.Supervisor)
	if err != nil {
		t.Fatal(err)
	}
	e.socket = filepath.Join(t.TempDir(), "run", "engine.sock")
	lis, err := Listen(e.socket)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- e.gateway.Serve(lis) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		e.gateway.Close(ctx)
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		e.system.Root.Stop(e.system.NewLocalPID(wire.Supervisor))
		<-e.stopped
		e.system.Shutdown()
	})
	return e
}

// giant is a machine of which there is much to say.
const (
	giant      = "giant"
	giantBytes = 2 << 20
)

func (e *engine) supervisor(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *wire.ListMachines:
		ctx.Respond(&wire.Machines{Version: 7})
	case *wire.InspectMachine:
		if m.Name == giant {
			ctx.Respond(&wire.Machine{Dir: strings.Repeat("x", giantBytes)})
			return
		}
		who := Principal(ctx.MessageHeader())
		ctx.Respond(&wire.Machine{Name: m.Name, Desired: who, Dir: strings.Join(ctx.MessageHeader().Keys(), ","), Address: ctx.Sender().Address})
	case *wire.EngineStatus:
		ctx.Respond(&wire.EngineInfo{Home: strings.Repeat("x", wire.MaxReply)})
	case *wire.CreateMachine:
		ctx.Respond(&wire.Done{})
	case *wire.ClientGone:
		e.gone <- m.Address
	case *actor.Stopped:
		close(e.stopped)
	}
}

// raw is a gRPC client that says whatever it likes.
type raw struct {
	t       testing.TB
	conn    *grpc.ClientConn
	stream  remote.Remoting_ReceiveClient
	address string
}

func dialRaw(t testing.TB, e *engine) *raw {
	t.Helper()
	return dialRawBy(t, func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "unix", e.socket) })
}

func dialRawBy(t testing.TB, dial func(context.Context) (net.Conn, error)) *raw {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///raw", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return dial(ctx) }), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(16<<20)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(func() { cancel(); _ = conn.Close() })
	stream, err := remote.NewRemotingClient(conn).Receive(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return &raw{t: t, conn: conn, stream: stream}
}

func connected(t testing.TB, e *engine) *raw {
	t.Helper()
	r := dialRaw(t, e)
	r.greet()
	return r
}

func (r *raw) greet() {
	r.t.Helper()
	r.send(hello())
	m, err := r.stream.Recv()
	if err != nil {
		r.t.Fatal(err)
	}
	if r.address = m.GetConnectResponse().GetMemberId(); r.address == "" {
		r.t.Fatalf("no address in %v", m)
	}
}

func (r *raw) send(m *remote.RemoteMessage) {
	// An error means that the stream is closed; Recv says why.
	_ = r.stream.Send(m)
}

// reply is the next message for this client.
func (r *raw) reply() (proto.Message, error) {
	m, err := r.stream.Recv()
	if err != nil {
		return nil, err
	}
	b := m.GetMessageBatch()
	v, err := remote.Deserialize(b.Envelopes[0].MessageData, b.TypeNames[0], 0)
	if err != nil {
		return nil, err
	}
	return v.(proto.Message), nil
}

func hello() *remote.RemoteMessage {
	return &remote.RemoteMessage{MessageType: &remote.RemoteMessage_ConnectRequest{ConnectRequest: &remote.ConnectRequest{
		ConnectionType: &remote.ConnectRequest_ClientConnection{ClientConnection: &remote.ClientConnection{}},
	}}}
}

func batchOf(b *remote.MessageBatch) *remote.RemoteMessage {
	return &remote.RemoteMessage{MessageType: &remote.RemoteMessage_MessageBatch{MessageBatch: b}}
}

// batch is a good batch with one message.
func batch(target string, m proto.Message) *remote.MessageBatch {
	data, err := proto.Marshal(m)
	if err != nil {
		panic(err)
	}
	return &remote.MessageBatch{
		TypeNames: []string{string(proto.MessageName(m))},
		Targets:   []*actor.PID{{Address: wire.Engine, Id: target}},
		Senders:   []*actor.PID{{Id: "$1"}},
		Envelopes: []*remote.MessageEnvelope{{Sender: 1, MessageData: data}},
	}
}

// changed is a good batch that change has spoilt.
func changed(change func(b *remote.MessageBatch, e *remote.MessageEnvelope)) *remote.RemoteMessage {
	b := batch(wire.Supervisor, &wire.ListMachines{})
	change(b, b.Envelopes[0])
	return batchOf(b)
}

// eventually waits for a condition that another goroutine brings about.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("never came: %s", what)
		}
	}
}

func alive(t testing.TB, e *engine) {
	t.Helper()
	r := connected(t, e)
	r.send(batchOf(batch(wire.Supervisor, &wire.ListMachines{})))
	m, err := r.reply()
	if list, ok := m.(*wire.Machines); err != nil || !ok || list.Version != 7 {
		t.Fatalf("the engine does not answer any more: %v, %v", m, err)
	}
}

func ownUID() string { return fmt.Sprintf("uid:%d", os.Geteuid()) }
