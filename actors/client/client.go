package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/remote"
	cmap "github.com/orcaman/concurrent-map"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

// A process registry is 1,024 of these maps, each of 32 shards: 5 ms of the
// start of a CLI, and more in the collector. One shard is enough. The number
// has to be set before the first map is made, and can't change afterwards.
func init() { cmap.SHARD_COUNT = 1 }

// greeting bounds how long an engine that listens may take to say hello.
const greeting = 5 * time.Second

// Client is one connection to an engine.
type Client struct {
	door   Door
	system *actor.ActorSystem
	conn   *grpc.ClientConn
	cancel context.CancelFunc // of the stream
	read   chan struct{}      // closed when the reader is gone

	sending sync.Mutex // a stream has one sender at a time
	stream  remote.Remoting_ReceiveClient

	once sync.Once
	done chan struct{}
	err  error // set before done is closed
}

// Dial connects to an engine. Where nobody listens it fails at once with
// ErrNoEngine, and with ErrShut where an engine of another host says no.
func Dial(ctx context.Context, door Door) (*Client, error) {
	raw, err := door.Endpoint(ctx)
	if err != nil {
		return nil, err
	}
	c, err := newClient(door, raw)
	if err != nil {
		return nil, errors.Join(err, raw.Close())
	}
	if err := c.connect(ctx); err != nil {
		close(c.read)
		return nil, errors.Join(err, c.Close())
	}
	go c.receive()
	return c, nil
}

// newClient puts gRPC on a connection that is there already: it gets this one
// and no other, since a new connection would be a new address.
func newClient(door Door, raw net.Conn) (*Client, error) {
	first := make(chan net.Conn, 1)
	first <- raw
	conn, err := grpc.NewClient("passthrough:///"+wire.Engine,
		grpc.WithTransportCredentials(insecure.NewCredentials()), // the kernel keeps strangers out
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) {
			select {
			case c := <-first:
				return c, nil
			default:
				return nil, ErrDisconnected
			}
		}),
		grpc.WithDisableServiceConfig(), grpc.WithDisableRetry(), grpc.WithIdleTimeout(0),
		grpc.WithInitialWindowSize(1<<20), grpc.WithInitialConnWindowSize(1<<20),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(wire.MaxReply+64<<10)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
	)
	if err != nil {
		return nil, fmt.Errorf("client: connect to the engine: %w", err)
	}
	return &Client{
		door: door, conn: conn, done: make(chan struct{}), read: make(chan struct{}),
		system: actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger {
			return slog.New(slog.DiscardHandler)
		})),
	}, nil
}

// connect opens the stream and learns the address that the gateway gives.
func (c *Client) connect(ctx context.Context) error {
	stream, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c.cancel = cancel
	hello, stop := context.WithTimeout(ctx, greeting)
	defer stop()
	defer context.AfterFunc(hello, cancel)()
	address, err := c.hello(stream)
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("client: connect to the engine: %w", context.Cause(ctx))
	case hello.Err() != nil:
		return fmt.Errorf("%w (%s)", ErrMute, c.door)
	case err != nil: // it is going down, or has too many clients
		return fmt.Errorf("%w: %w", ErrDisconnected, err)
	}
	c.system.ProcessRegistry.Address = address
	c.system.ProcessRegistry.RegisterAddressResolver(func(pid *actor.PID) (actor.Process, bool) {
		return (*engine)(c), pid.GetAddress() == wire.Engine
	})
	return nil
}

func (c *Client) hello(ctx context.Context) (address string, err error) {
	if c.stream, err = remote.NewRemotingClient(c.conn).Receive(ctx); err != nil {
		return "", err
	}
	err = c.send(&remote.RemoteMessage{MessageType: &remote.RemoteMessage_ConnectRequest{ConnectRequest: &remote.ConnectRequest{
		ConnectionType: &remote.ConnectRequest_ClientConnection{ClientConnection: &remote.ClientConnection{SystemId: c.system.ID}},
	}}})
	if err != nil {
		return "", err
	}
	m, err := c.stream.Recv()
	if err != nil {
		return "", err
	}
	if address = m.GetConnectResponse().GetMemberId(); address == "" {
		return "", errors.New("the answer is no ConnectResponse")
	}
	return address, nil
}

// Close ends the connection and every Ask on it.
func (c *Client) Close() error {
	c.fail(fmt.Errorf("client: %w", net.ErrClosed))
	err := c.conn.Close()
	<-c.read
	if err != nil && status.Code(err) != codes.Canceled {
		return fmt.Errorf("client: close: %w", err)
	}
	return nil
}

// fail ends the connection, once, and says why to everyone who waits.
func (c *Client) fail(err error) {
	c.once.Do(func() {
		c.err = err
		close(c.done)
		c.cancel()
		c.system.Shutdown()
	})
}

func (c *Client) send(m *remote.RemoteMessage) error {
	c.sending.Lock()
	defer c.sending.Unlock()
	return c.stream.Send(m)
}

// receive hands what comes to the mailboxes that wait for it.
func (c *Client) receive() {
	defer close(c.read)
	for {
		m, err := c.stream.Recv()
		if err != nil {
			c.fail(fmt.Errorf("%w: %w", ErrDisconnected, err))
			return
		}
		b := m.GetMessageBatch()
		for _, e := range b.GetEnvelopes() {
			if err := c.deliver(b, e); err != nil {
				c.fail(fmt.Errorf("%w: %w", ErrDisconnected, err))
				return
			}
		}
	}
}

func (c *Client) deliver(b *remote.MessageBatch, e *remote.MessageEnvelope) error {
	if e.Target < 0 || int(e.Target) >= len(b.Targets) || e.TypeId < 0 || int(e.TypeId) >= len(b.TypeNames) || e.SerializerId != 0 {
		return errors.New("the engine sent an envelope that is out of range")
	}
	kind, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(b.TypeNames[e.TypeId]))
	if err != nil {
		return fmt.Errorf("a reply of a type that this client does not know: %w", err)
	}
	message := kind.New().Interface()
	if err := proto.Unmarshal(e.MessageData, message); err != nil {
		return fmt.Errorf("a reply that can't be read: %w", err)
	}
	p, _ := c.system.ProcessRegistry.GetLocal(b.Targets[e.Target].GetId())
	if box, ok := p.(*mailbox); ok { // else: it has given up waiting
		box.SendUserMessage(nil, message)
	}
	return nil
}

// engine is the process behind every PID of the engine.
type engine Client

// SendUserMessage implements actor.Process: it puts a message on the wire. What
// can't be sent is refused here, in the engine's place.
func (n *engine) SendUserMessage(pid *actor.PID, message any) {
	c := (*Client)(n)
	_, body, sender := actor.UnwrapEnvelope(message)
	request, _ := body.(proto.Message)
	data, err := proto.Marshal(request)
	if err == nil && len(data) > wire.MaxRequest {
		err = fmt.Errorf("it has %d bytes, the limit is %d", len(data), wire.MaxRequest)
	}
	if err != nil {
		c.system.Root.Send(sender, &wire.Refused{
			Code: wire.Code_CODE_BAD_INPUT, Message: fmt.Sprintf("the request can't be sent: %v", err), Hint: "arcbox version",
		})
		return
	}
	err = c.send(&remote.RemoteMessage{MessageType: &remote.RemoteMessage_MessageBatch{MessageBatch: &remote.MessageBatch{
		TypeNames: []string{string(proto.MessageName(request))},
		Targets:   []*actor.PID{{Address: wire.Engine, Id: pid.Id}},
		Senders:   []*actor.PID{{Address: sender.GetAddress(), Id: sender.GetId()}},
		Envelopes: []*remote.MessageEnvelope{{Sender: 1, MessageData: data}},
	}}})
	if err != nil {
		c.fail(fmt.Errorf("%w: %w", ErrDisconnected, err))
	}
}

// SendSystemMessage implements actor.Process: the engine takes none.
func (*engine) SendSystemMessage(*actor.PID, any) {}

// Stop implements actor.Process: the engine's actors are not ours to stop.
func (*engine) Stop(*actor.PID) {}
