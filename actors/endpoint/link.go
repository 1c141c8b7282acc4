package endpoint

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/remote"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

var errGoingDown = status.Error(codes.Unavailable, "the engine is going down")

// link is one client's stream, and the process behind that client's PIDs.
type link struct {
	gateway   *Gateway
	stream    remote.Remoting_ReceiveServer
	address   string
	principal string
	role      string
	log       *slog.Logger
	out       chan outgoing

	draining chan struct{}
	drain    func() // ends the link once what is in out was sent
	done     chan struct{}
	once     sync.Once
	err      error // set before done is closed

	mu      sync.Mutex
	waiting map[string]int64 // what is held for senders that have no answer yet, by id
	unasked int              // grants since something was last sent
	refused int              // the reader's
}

// outgoing is a message for a PID of the client; without an id it is for the
// connection itself.
type outgoing struct {
	id      string
	message proto.Message
	size    int // of the message
}

func newLink(g *Gateway, stream remote.Remoting_ReceiveServer, address, principal, role string) *link {
	l := &link{
		gateway: g, stream: stream, address: address, principal: principal, role: role,
		log:      g.log.With("client", address, "principal", principal),
		out:      make(chan outgoing, g.limits.Queue),
		draining: make(chan struct{}), done: make(chan struct{}),
		waiting: map[string]int64{},
	}
	l.drain = sync.OnceFunc(func() { close(l.draining) })
	return l
}

// end closes the stream, once. It is the one place that logs why.
func (l *link) end(err error) {
	l.once.Do(func() {
		var v violation
		if errors.As(err, &v) {
			err = status.Error(codes.InvalidArgument, v.Error())
		}
		switch status.Code(err) {
		case codes.OK, codes.Canceled, codes.Unavailable: // gone, or told to go
		default:
			l.log.Warn("closed a client's stream", "err", err)
		}
		l.err = err
		close(l.done)
	})
}

// caught turns a panic over one client's bytes into the end of its stream.
func (l *link) caught() {
	if v := recover(); v != nil {
		l.log.Error("panic in a client's stream", "panic", v, "stack", string(debug.Stack()))
		l.end(status.Error(codes.Internal, "internal error"))
	}
}

// read checks and delivers until the stream ends.
func (l *link) read() {
	defer l.gateway.work.Done()
	defer l.caught()
	connected := false
	defer func() { l.gateway.leave(l, connected) }()
	late := time.AfterFunc(l.gateway.limits.Handshake, func() {
		l.end(status.Error(codes.DeadlineExceeded, "no ConnectRequest in time"))
	})
	defer late.Stop()
	for {
		m, err := l.stream.Recv()
		switch {
		case errors.Is(err, io.EOF):
			l.end(nil)
			return
		case status.Code(err) == codes.Internal: // what came is no RemoteMessage
			err = violation("not readable: " + err.Error())
		case err != nil:
		case !connected:
			err = l.connect(m)
			connected = err == nil
			late.Stop()
		default:
			err = l.receive(m)
		}
		if err != nil {
			l.end(err)
			return
		}
	}
}

// connect answers the first message.
func (l *link) connect(m *remote.RemoteMessage) error {
	if m.GetConnectRequest().GetClientConnection() == nil {
		return violation("the first message is no ConnectRequest of a client")
	}
	l.push(outgoing{message: &remote.ConnectResponse{MemberId: l.address}})
	return nil
}

// receive handles every later message.
func (l *link) receive(m *remote.RemoteMessage) error {
	if m.GetMessageBatch() == nil {
		return violated("a %T where only batches are expected", m.GetMessageType())
	}
	b := m.GetMessageBatch()
	if err := l.gateway.check.batch(b); err != nil {
		return err
	}
	for _, e := range b.Envelopes {
		d, refused, err := l.gateway.check.envelope(b, e, l.address)
		if err != nil {
			return err
		}
		if refused == nil {
			refused = denied(l.role, d.message)
		}
		if refused != nil {
			err = l.refuse(d, refused)
		} else {
			err = l.deliver(d)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *link) refuse(d delivery, r *wire.Refused) error {
	l.log.Warn("refused a message", "target", short(d.target), "field", r.Field, "why", r.Message)
	if l.refused++; l.refused > l.gateway.limits.Refusals {
		return violated("more than %d refused messages", l.gateway.limits.Refusals)
	}
	l.push(outgoing{id: d.sender.Id, message: r})
	return nil
}

func (l *link) deliver(d delivery) error {
	if err := l.await(d); err != nil {
		return err
	}
	l.gateway.system.Root.Send(l.gateway.system.NewLocalPID(d.target), &actor.MessageEnvelope{
		Header:  map[string]string{HeaderPrincipal: l.principal},
		Message: d.message,
		Sender:  d.sender,
	})
	return nil
}

// await counts who waits for an answer: mailboxes are unbounded, so this is
// what keeps a client from filling one. Credit has no answer of its own; a
// follower grants it after it was sent something.
func (l *link) await(d delivery) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	limit := l.gateway.limits.Queue
	switch d.message.(type) {
	case *wire.Grant, *wire.Unfollow:
		if _, over := d.message.(*wire.Unfollow); over {
			l.hold(-l.waiting[d.sender.Id])
			delete(l.waiting, d.sender.Id)
		}
		if l.unasked++; l.unasked > limit {
			return status.Errorf(codes.ResourceExhausted, "more than %d grants for nothing", limit)
		}
		return nil
	}
	if _, ok := l.waiting[d.sender.Id]; ok {
		return violated("the sender %q waits for an answer already", short(d.sender.Id))
	}
	cost := int64(proto.Size(d.message) + requestCost)
	l.waiting[d.sender.Id] = cost
	if len(l.waiting) > limit {
		return status.Errorf(codes.ResourceExhausted, "more than %d requests without an answer", limit)
	}
	l.hold(cost)
	return nil
}

// hold counts what the engine holds for this client.
func (l *link) hold(n int64) {
	if greedy := l.gateway.budget.add(l, n); greedy != nil {
		greedy.end(status.Error(codes.ResourceExhausted, "too much is held for this client: it asks for more than it reads"))
	}
}

// push hands a message to the writer. It never waits: a client that does not
// read loses its stream.
func (l *link) push(o outgoing) {
	o.size = proto.Size(o.message)
	l.mu.Lock()
	answered := l.waiting[o.id]
	delete(l.waiting, o.id)
	l.unasked = 0
	l.mu.Unlock()
	l.hold(o.cost() - answered)
	select {
	case l.out <- o:
	default:
		l.end(status.Errorf(codes.ResourceExhausted, "more than %d answers were not read", l.gateway.limits.Queue))
	}
}

func (o outgoing) cost() int64 { return int64(o.size + answerCost) }

// SendUserMessage implements actor.Process: an actor answers a client.
func (l *link) SendUserMessage(pid *actor.PID, message any) {
	_, body, _ := actor.UnwrapEnvelope(message)
	switch m := body.(type) {
	case *actor.DeadLetterResponse:
		l.push(outgoing{id: pid.Id, message: &wire.Refused{
			Code: wire.Code_CODE_UNAVAILABLE, Message: "the engine is starting or going down", Hint: "arcbox engine status",
		}})
	case proto.Message:
		l.push(outgoing{id: pid.Id, message: m})
	default:
		l.log.Error("an actor sent a client what is no message", "type", fmt.Sprintf("%T", body))
	}
}

// SendSystemMessage implements actor.Process. Clients are not watched: see
// ClientGone.
func (l *link) SendSystemMessage(*actor.PID, any) {}

// Stop implements actor.Process. Actors don't stop clients.
func (l *link) Stop(*actor.PID) {}

// write sends until the link ends, or until it is told to drain and out is
// empty.
func (l *link) write() {
	defer l.gateway.work.Done()
	defer l.caught()
	for {
		select {
		case <-l.done:
			return
		case o := <-l.out:
			if err := l.send(o); err != nil {
				l.end(err)
				return
			}
			l.hold(-o.cost())
		case <-l.draining:
			if len(l.out) == 0 {
				l.end(errGoingDown)
				return
			}
		}
	}
}

func (l *link) send(o outgoing) error {
	if c, ok := o.message.(*remote.ConnectResponse); ok {
		return l.stream.Send(&remote.RemoteMessage{MessageType: &remote.RemoteMessage_ConnectResponse{ConnectResponse: c}})
	}
	if o.size > wire.MaxReply {
		l.log.Error("a reply is too big", "type", proto.MessageName(o.message), "bytes", o.size)
		o.message = &wire.Refused{Code: wire.Code_CODE_INTERNAL, Hint: "arcbox engine status", Message: fmt.Sprintf("the reply has %d bytes, the limit is %d", o.size, wire.MaxReply)}
	}
	data, err := proto.Marshal(o.message)
	if err != nil { // text that is no UTF-8
		l.log.Error("a reply can't be written", "type", proto.MessageName(o.message), "err", err)
		if data, err = proto.Marshal(&wire.Refused{Code: wire.Code_CODE_INTERNAL, Hint: "arcbox engine status", Message: "the reply can't be written"}); err != nil {
			return fmt.Errorf("endpoint: write a reply: %w", err)
		}
		o.message = &wire.Refused{}
	}
	return l.stream.Send(&remote.RemoteMessage{MessageType: &remote.RemoteMessage_MessageBatch{MessageBatch: &remote.MessageBatch{
		TypeNames: []string{string(proto.MessageName(o.message))},
		Targets:   []*actor.PID{{Address: l.address, Id: o.id}},
		Envelopes: []*remote.MessageEnvelope{{MessageData: data}},
	}}})
}
