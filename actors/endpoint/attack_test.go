package endpoint

import (
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/remote"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

type (
	bat = *remote.MessageBatch
	env = *remote.MessageEnvelope
)

// breaches close the stream with InvalidArgument.
var breaches = map[string]*remote.RemoteMessage{
	"second connect":       hello(),
	"disconnect":           {MessageType: &remote.RemoteMessage_DisconnectRequest{DisconnectRequest: &remote.DisconnectRequest{}}},
	"connect response":     {MessageType: &remote.RemoteMessage_ConnectResponse{ConnectResponse: &remote.ConnectResponse{MemberId: wire.Engine}}},
	"nothing":              {},
	"type index high":      changed(func(_ bat, e env) { e.TypeId = 1 }),
	"type index negative":  changed(func(_ bat, e env) { e.TypeId = -1 }),
	"no types":             changed(func(b bat, _ env) { b.TypeNames = nil }),
	"target index high":    changed(func(_ bat, e env) { e.Target = 1 << 30 }),
	"target negative":      changed(func(_ bat, e env) { e.Target = -1 << 31 }),
	"no targets":           changed(func(b bat, _ env) { b.Targets = nil }),
	"sender index high":    changed(func(_ bat, e env) { e.Sender = 2 }),
	"sender negative":      changed(func(_ bat, e env) { e.Sender = -1 }),
	"no sender":            changed(func(_ bat, e env) { e.Sender = 0 }),
	"sender without id":    changed(func(b bat, _ env) { b.Senders[0].Id = "" }),
	"sender with giant id": changed(func(b bat, _ env) { b.Senders[0].Id = strings.Repeat("x", 1000) }),
	"json serializer":      changed(func(_ bat, e env) { e.SerializerId = 1 }),
	"serializer high":      changed(func(_ bat, e env) { e.SerializerId = 99 }),
	"serializer negative":  changed(func(_ bat, e env) { e.SerializerId = -1 }),
	"foreign address":      changed(func(b bat, _ env) { b.Targets[0].Address = "10.0.0.1:80" }),
	"address of a client":  changed(func(b bat, _ env) { b.Targets[0].Address = "client:1" }),
	"local address":        changed(func(b bat, _ env) { b.Targets[0].Address = "nonhost" }),
	"no address":           changed(func(b bat, _ env) { b.Targets[0].Address = "" }),
	"forged sender":        changed(func(b bat, _ env) { b.Senders[0] = &actor.PID{Address: "client:999", Id: "$1"} }),
	"engine as sender":     changed(func(b bat, _ env) { b.Senders[0] = &actor.PID{Address: "nonhost", Id: "supervisor"} }),
	"target request id":    changed(func(_ bat, e env) { e.TargetRequestId = 7 }),
	"sender request id":    changed(func(_ bat, e env) { e.SenderRequestId = 7 }),
	"too many envelopes":   changed(func(b bat, e env) { b.Envelopes = repeated(e, 1000) }),
	"too many types":       changed(func(b bat, _ env) { b.TypeNames = repeated("x", 1000) }),
	"too many targets":     changed(func(b bat, _ env) { b.Targets = repeated(b.Targets[0], 1000) }),
	"one sender twice": changed(func(b bat, e env) {
		*b = *batch(wire.Supervisor, &wire.AwaitMachine{})
		b.Envelopes = repeated(b.Envelopes[0], 2)
	}),
}

func repeated[T any](v T, n int) []T {
	all := make([]T, n)
	for i := range all {
		all[i] = v
	}
	return all
}

const uuid1 = "7b0c1c0e-6f6e-4d5c-9a5b-0d6c3f1f2a10"

// refusals are answered, and the stream goes on.
var refusals = map[string]*remote.RemoteMessage{
	"unknown type":         changed(func(b bat, _ env) { b.TypeNames[0] = "no.such.Type" }),
	"type without a name":  changed(func(b bat, _ env) { b.TypeNames[0] = "" }),
	"giant type name":      changed(func(b bat, _ env) { b.TypeNames[0] = strings.Repeat("é", 100<<10) }),
	"terminated nobody":    batchOf(batch(wire.Supervisor, &actor.Terminated{})),
	"stop":                 batchOf(batch(wire.Supervisor, &actor.Stop{})),
	"poison pill":          batchOf(batch(wire.Supervisor, &actor.PoisonPill{})),
	"watch":                batchOf(batch(wire.Supervisor, &actor.Watch{})),
	"unwatch":              batchOf(batch(wire.Supervisor, &actor.Unwatch{})),
	"touch":                batchOf(batch(wire.Supervisor, &actor.Touch{})),
	"dead letter response": batchOf(batch(wire.Supervisor, &actor.DeadLetterResponse{})),
	"activator":            batchOf(batch("activator", &remote.ActorPidRequest{Kind: "x"})),
	"spawn at supervisor":  batchOf(batch(wire.Supervisor, &remote.ActorPidRequest{Kind: "x"})),
	"event stream":         batchOf(batch("eventstream", &wire.ListMachines{})),
	"dead letters":         batchOf(batch("deadletter", &wire.ListMachines{})),
	"internal actor":       batchOf(batch("$1", &wire.ListMachines{})),
	"machine actor":        batchOf(batch("supervisor/web", &wire.StopMachine{})),
	"a reply":              batchOf(batch(wire.Supervisor, &wire.Done{})),
	"the other's request":  batchOf(batch(wire.Supervisor, &wire.QueryJournal{})),
	"not decodable":        changed(func(_ bat, e env) { e.MessageData = []byte{0xff, 0xff, 0xff} }),
	"no utf-8": changed(func(b bat, e env) {
		*b = *batch(wire.Supervisor, &wire.InspectMachine{})
		b.Envelopes[0].MessageData = []byte{10, 1, 0xff}
	}),
	"nested groups":      changed(func(_ bat, e env) { e.MessageData = nestedGroups(20_000) }),
	"no request":         batchOf(batch(wire.Supervisor, &wire.CreateMachine{Name: "web"})),
	"no request id":      batchOf(batch(wire.Supervisor, &wire.CreateMachine{Name: "web", Request: &wire.Request{}})),
	"request id no uuid": batchOf(batch(wire.Supervisor, &wire.StopMachine{Name: "web", Request: &wire.Request{Id: "{" + uuid1 + "}"}})),
	"long name":          batchOf(batch(wire.Supervisor, &wire.InspectMachine{Name: strings.Repeat("a", 254)})),
	"NUL in a name":      batchOf(batch(wire.Supervisor, &wire.InspectMachine{Name: "a\x00b"})),
	"negative time":      batchOf(batch(wire.Supervisor, &wire.AwaitMachine{TimeoutNanos: -1})),
	"negative patience":  batchOf(batch(wire.Supervisor, &wire.StopMachine{Request: &wire.Request{Id: uuid1, PatienceNanos: -1}})),
	"long kernel":        batchOf(batch(wire.Supervisor, &wire.CreateMachine{Request: &wire.Request{Id: uuid1}, Spec: &wire.Spec{Kernel: strings.Repeat("k", 5000)}})),
	"many kinds":         batchOf(batch(wire.Journal, &wire.QueryJournal{Kinds: repeated("k", 65)})),
	"long machine":       batchOf(batch(wire.Journal, &wire.Follow{Query: &wire.QueryJournal{Machine: strings.Repeat("k", 300)}})),
}

func nestedGroups(depth int) []byte {
	var b []byte
	for range depth {
		b = protowire.AppendTag(b, 100, protowire.StartGroupType)
	}
	for range depth {
		b = protowire.AppendTag(b, 100, protowire.EndGroupType)
	}
	return b
}

func TestBreachesCloseTheStream(t *testing.T) {
	for name, message := range breaches {
		t.Run(name, func(t *testing.T) {
			e := startEngine(t, Limits{}, ownOrRoot)
			r := connected(t, e)
			r.send(message)
			_, err := r.reply()
			for err == nil { // what was good before it is answered
				_, err = r.reply()
			}
			if status.Code(err) != codes.InvalidArgument {
				t.Errorf("closed with %v, want InvalidArgument", err)
			}
			alive(t, e)
			once(t, e)
		})
	}
}

func TestFirstMessageMustConnect(t *testing.T) {
	server := &remote.RemoteMessage{MessageType: &remote.RemoteMessage_ConnectRequest{ConnectRequest: &remote.ConnectRequest{
		ConnectionType: &remote.ConnectRequest_ServerConnection{ServerConnection: &remote.ServerConnection{Address: "10.0.0.1:80"}},
	}}}
	noKind := &remote.RemoteMessage{MessageType: &remote.RemoteMessage_ConnectRequest{ConnectRequest: &remote.ConnectRequest{}}}
	for name, first := range map[string]*remote.RemoteMessage{
		"batch": batchOf(batch(wire.Supervisor, &wire.ListMachines{})), "nothing": {}, "server": server, "no kind": noKind,
	} {
		t.Run(name, func(t *testing.T) {
			e := startEngine(t, Limits{}, ownOrRoot)
			r := dialRaw(t, e)
			r.send(first)
			if _, err := r.reply(); status.Code(err) != codes.InvalidArgument {
				t.Errorf("closed with %v, want InvalidArgument", err)
			}
			alive(t, e)
			once(t, e)
		})
	}
}

func TestRefusalsAreAnswered(t *testing.T) {
	for name, message := range refusals {
		t.Run(name, func(t *testing.T) {
			e := startEngine(t, Limits{}, ownOrRoot)
			r := connected(t, e)
			r.send(message)
			m, err := r.reply()
			if refused, ok := m.(*wire.Refused); err != nil || !ok || refused.Code != wire.Code_CODE_BAD_INPUT || refused.Message == "" {
				t.Fatalf("answered with %v, %v, want bad input", m, err)
			}
			r.send(batchOf(batch(wire.Supervisor, &wire.ListMachines{})))
			if m, err := r.reply(); err != nil {
				t.Errorf("the stream did not go on: %v, %v", m, err)
			}
			once(t, e)
		})
	}
}

// once checks that the one bad thing that happened was logged, once.
func once(t *testing.T, e *engine) {
	t.Helper()
	eventually(t, "a line in the log", func() bool { return len(e.log.all()) > 0 })
	if lines := e.log.all(); len(lines) != 1 || len(lines[0]) > 1000 {
		t.Errorf("logged %d lines: %.3000q", len(lines), lines)
	}
}

func TestCallsOfOtherMethods(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for name, call := range map[string]func(c *grpc.ClientConn) error{
		"list processes": func(c *grpc.ClientConn) error {
			_, err := remote.NewRemotingClient(c).ListProcesses(ctx, &remote.ListProcessesRequest{Pattern: "*"})
			return err
		},
		"diagnostics": func(c *grpc.ClientConn) error {
			_, err := remote.NewRemotingClient(c).GetProcessDiagnostics(ctx, &remote.GetProcessDiagnosticsRequest{})
			return err
		},
		"unknown": func(c *grpc.ClientConn) error {
			return c.Invoke(ctx, "/no.such/Method", &wire.ListMachines{}, &wire.Machines{})
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := startEngine(t, Limits{}, ownOrRoot)
			if err := call(connected(t, e).conn); status.Code(err) != codes.Unimplemented {
				t.Errorf("got %v, want Unimplemented", err)
			}
			alive(t, e)
			once(t, e)
		})
	}
}

// bytesCodec sends what is no message at all.
type bytesCodec struct{}

func (bytesCodec) Marshal(v any) ([]byte, error)   { return v.([]byte), nil }
func (bytesCodec) Unmarshal(b []byte, v any) error { *v.(*[]byte) = b; return nil }
func (bytesCodec) Name() string                    { return "proto" }

// gRPC itself answers what it could not read, with Internal.
func TestBytesThatAreNoMessage(t *testing.T) {
	for name, c := range map[string]struct {
		data []byte
		want codes.Code
	}{
		"garbage": {bytes.Repeat([]byte{0xff}, 100), codes.Internal},
		"groups":  {nestedGroups(20_000), codes.Internal},
		"giant":   {make([]byte, wire.MaxRequest+1), codes.ResourceExhausted},
	} {
		t.Run(name, func(t *testing.T) {
			e := startEngine(t, Limits{}, ownOrRoot)
			stream, err := connected(t, e).conn.NewStream(t.Context(), &remote.Remoting_ServiceDesc.Streams[0],
				"/remote.Remoting/Receive", grpc.ForceCodec(bytesCodec{}))
			if err != nil {
				t.Fatal(err)
			}
			if err := stream.SendMsg(c.data); err != nil {
				t.Fatal(err)
			}
			var answer []byte
			if err := stream.RecvMsg(&answer); status.Code(err) != c.want {
				t.Errorf("closed with %v, want %v", err, c.want)
			}
			alive(t, e)
			once(t, e)
		})
	}
}

func TestFloodWithoutReading(t *testing.T) {
	for name, c := range map[string]struct {
		request proto.Message
		limits  Limits
	}{
		"answers not read":     {&wire.InspectMachine{Name: strings.Repeat("a", 200)}, Limits{Queue: 16}},
		"requests unanswered":  {&wire.AwaitMachine{Name: "a"}, Limits{Queue: 16}},
		"grants for nothing":   {&wire.Grant{}, Limits{Queue: 16}},
		"nothing but refusals": {&wire.Done{}, Limits{Refusals: 16}},
	} {
		t.Run(name, func(t *testing.T) {
			e := startEngine(t, c.limits, ownOrRoot)
			r := connected(t, e)
			b := batch(wire.Supervisor, c.request)
			if _, ok := c.request.(*wire.Grant); ok {
				b.Targets[0].Id = wire.Journal
			}
			for i := 0; r.stream.Context().Err() == nil; i++ {
				b.Senders[0].Id = "$" + strings.Repeat("x", i%100)
				if _, ok := c.request.(*wire.InspectMachine); !ok && i == 100 {
					break
				}
				if err := r.stream.Send(batchOf(b)); err != nil {
					break
				}
			}
			var err error
			for err == nil {
				_, err = r.reply()
			}
			if code := status.Code(err); code != codes.ResourceExhausted && code != codes.InvalidArgument {
				t.Errorf("closed with %v", err)
			}
			alive(t, e)
			eventually(t, "ClientGone", func() bool { return len(e.gone) > 0 })
		})
	}
}

func TestSilentClientIsPutOut(t *testing.T) {
	e := startEngine(t, Limits{Handshake: 500 * time.Millisecond}, ownOrRoot)
	if _, err := dialRaw(t, e).reply(); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("closed with %v, want DeadlineExceeded", err)
	}
	once(t, e)
}

func TestStrangerIsTurnedAway(t *testing.T) {
	e := startEngine(t, Limits{}, func(uint32) bool { return false })
	c, err := net.Dial("unix", e.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if n, err := io.Copy(io.Discard, c); n != 0 {
		t.Errorf("a stranger was told %d bytes, %v", n, err)
	}
	once(t, e)
}

func TestTooManyConnections(t *testing.T) {
	e := startEngine(t, Limits{Connections: 2, PerProcess: 2}, ownOrRoot)
	first, second := connected(t, e), connected(t, e)
	for range 3 {
		c, err := net.Dial("unix", e.socket)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, c); n != 0 {
			t.Errorf("one too many was told %d bytes, %v", n, err)
		}
		_ = c.Close()
	}
	once(t, e)
	_ = first.conn.Close()
	eventually(t, "ClientGone", func() bool { return len(e.gone) > 0 })
	second.send(batchOf(batch(wire.Supervisor, &wire.ListMachines{})))
	if _, err := second.reply(); err != nil {
		t.Error(err)
	}
	eventually(t, "a free place", func() bool {
		c, err := net.Dial("unix", e.socket)
		if err != nil {
			return false
		}
		defer c.Close()
		_ = c.SetReadDeadline(time.Now().Add(patience))
		n, _ := c.Read(make([]byte, 1)) // settings of HTTP/2
		return n == 1
	})
}

// TestPanicEndsOneStream uses a gateway whose checker is broken.
func TestPanicEndsOneStream(t *testing.T) {
	e := startEngine(t, Limits{}, ownOrRoot)
	r := connected(t, e)
	good := e.gateway.check
	e.gateway.check = nil
	r.send(batchOf(batch(wire.Supervisor, &wire.ListMachines{})))
	_, err := r.reply()
	e.gateway.check = good
	if status.Code(err) != codes.Internal {
		t.Errorf("closed with %v, want Internal", err)
	}
	alive(t, e)
}
