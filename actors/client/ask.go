package client

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/asynkron/protoactor-go/actor"
	"google.golang.org/protobuf/proto"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

// mailbox is a process that takes replies. It is bounded by what may come; more
// is a fault of the engine.
type mailbox struct {
	replies  chan proto.Message
	overflow func()
}

// SendUserMessage implements actor.Process.
func (b *mailbox) SendUserMessage(_ *actor.PID, message any) {
	_, body, _ := actor.UnwrapEnvelope(message)
	m, ok := body.(proto.Message)
	if !ok {
		return
	}
	select {
	case b.replies <- m:
	default:
		b.overflow()
	}
}

// SendSystemMessage implements actor.Process.
func (*mailbox) SendSystemMessage(*actor.PID, any) {}

// Stop implements actor.Process.
func (*mailbox) Stop(*actor.PID) {}

// open registers a mailbox; the function takes it away again.
func (c *Client) open(size int) (*mailbox, *actor.PID, func()) {
	b := &mailbox{
		replies:  make(chan proto.Message, size),
		overflow: sync.OnceFunc(func() { c.fail(fmt.Errorf("%w: it sent more than was asked for", ErrDisconnected)) }),
	}
	registry := c.system.ProcessRegistry
	pid, _ := registry.Add(b, registry.NextId())
	return b, pid, func() { registry.Remove(pid) }
}

// tell sends a message to an actor of the engine.
func (c *Client) tell(target string, sender *actor.PID, msg proto.Message) {
	c.system.Root.Send(actor.NewPID(wire.Engine, target), &actor.MessageEnvelope{Message: msg, Sender: sender})
}

// next waits for the next reply in a mailbox. What came before the connection
// was lost is still handed out.
func (c *Client) next(ctx context.Context, b *mailbox) (proto.Message, error) {
	var m proto.Message
	select {
	case m = <-b.replies:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-c.done:
		select {
		case m = <-b.replies:
		default:
			return nil, c.err
		}
	}
	if r, ok := m.(*wire.Refused); ok {
		return nil, refusedError(r)
	}
	return m, nil
}

// Ask sends a request to an actor of the engine and waits for the reply. The
// error is a *RefusedError, ErrDisconnected, or that of ctx.
func (c *Client) Ask(ctx context.Context, target string, msg proto.Message) (proto.Message, error) {
	b, pid, done := c.open(1)
	defer done()
	c.tell(target, pid, msg)
	m, err := c.next(ctx, b)
	if err != nil && !errors.As(err, new(*RefusedError)) {
		return nil, fmt.Errorf("%s: %w", msg.ProtoReflect().Descriptor().Name(), err)
	}
	return m, err
}

// Call is Ask with the reply's type; the request's type decides who is asked.
func Call[R proto.Message](ctx context.Context, c *Client, msg proto.Message) (R, error) {
	var none R
	target := wire.TargetOf(msg)
	if target == "" {
		return none, fmt.Errorf("client: nobody takes a %T", msg)
	}
	m, err := c.Ask(ctx, target, msg)
	if err != nil {
		return none, err
	}
	r, ok := m.(R)
	if !ok {
		return none, fmt.Errorf("client: a %T was answered with a %T", msg, m)
	}
	return r, nil
}
