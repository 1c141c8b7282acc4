package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

// Command carries out one command over a connection of its own. It gives the
// command a request id, where it has none; cut off from the engine it connects
// again and sends it again, until ctx is over, no engine came back in time (opts), or it
// was cut off maxSent times: the engine knows the id, and does nothing twice. StopEngine is
// not sent again, since it would stop the next engine. Where no engine runs to begin with
// the error is ErrNoEngine.
func Command(ctx context.Context, door Door, msg proto.Message, opts ...Option) (*wire.Done, error) {
	msg, err := identified(ctx, msg)
	if err != nil {
		return nil, err
	}
	wait, away := newBackoff(), absent(opts)
	c, err := Dial(ctx, door)
	if errors.Is(err, ErrDisconnected) { // an engine that is going down
		c, err = away.redial(ctx, door, wait)
	}
	for sent := 1; err == nil; sent++ {
		done, asked := Call[*wire.Done](ctx, c, msg)
		closed := c.Close()
		if _, once := msg.(*wire.StopEngine); once || !errors.Is(asked, ErrDisconnected) {
			return done, errors.Join(asked, closed)
		}
		if sent == maxSent {
			return nil, fmt.Errorf("%w, each of the %d times that this was asked; it may have been carried out", asked, sent)
		}
		if c, err = away.redial(ctx, door, wait); err != nil {
			err = fmt.Errorf("%w; what was asked may have been carried out", err)
		}
	}
	return nil, err
}

// identified is a copy of a command with a request id, and with the time that
// its client waits.
func identified(ctx context.Context, msg proto.Message) (proto.Message, error) {
	msg = proto.Clone(msg)
	m := msg.ProtoReflect()
	f := m.Descriptor().Fields().ByName("request")
	if f == nil || f.Message() == nil {
		return nil, fmt.Errorf("client: a %T is no command", msg)
	}
	r, ok := m.Mutable(f).Message().Interface().(*wire.Request)
	if !ok {
		return nil, fmt.Errorf("client: a %T is no command", msg)
	}
	if r.Id == "" {
		r.Id = uuid.NewString()
	}
	if limit, ok := ctx.Deadline(); ok && r.PatienceNanos == 0 {
		r.PatienceNanos = max(1, int64(time.Until(limit)))
	}
	return msg, nil
}

// maxSent is how often a command is sent whose connection is cut before its answer:
// more than engines die in a row, in some two seconds of pauses.
const maxSent = 8

// backoff is the time between two attempts to connect.
type backoff struct{ next time.Duration }

func newBackoff() *backoff { return &backoff{20 * time.Millisecond} }

// redial tries until an engine answers, or says no, or ctx is over.
func redial(ctx context.Context, door Door, b *backoff) (*Client, error) {
	for {
		timer := time.NewTimer(b.next)
		b.next = min(2*b.next, time.Second)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, context.Cause(ctx)
		case <-timer.C:
		}
		if c, err := Dial(ctx, door); err == nil || errors.Is(err, ErrShut) {
			return c, err
		}
	}
}
