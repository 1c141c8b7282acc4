package main

import (
	"context"
	"fmt"
	"net"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/arcboxlabs/arcbox-engine/actors/client"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

// liveEngine is the engine behind a door.
type liveEngine struct {
	c    *client.Client
	door client.Door
	told func(string) // what a person is told meanwhile
}

var _ engine = (*liveEngine)(nil)

func (a *app) dialEngine(ctx context.Context, door client.Door) (engine, error) {
	c, err := client.Dial(ctx, door)
	if err != nil {
		return nil, err
	}
	return &liveEngine{c, door, a.telling()}, nil
}

// Ask implements engine.
func (e *liveEngine) Ask(ctx context.Context, question proto.Message) (proto.Message, error) {
	return client.Call[proto.Message](ctx, e.c, question)
}

// Command implements engine. It has a connection of its own, since it outlives
// the engine that it began with.
func (e *liveEngine) Command(ctx context.Context, command proto.Message) (*wire.Done, error) {
	var own time.Duration
	if limited, ok := command.(interface{ GetTimeoutNanos() int64 }); ok {
		own = time.Duration(limited.GetTimeoutNanos())
	}
	return client.Command(ctx, e.door, command, e.away(own)...)
}

// Open implements engine.
func (e *liveEngine) Open(ctx context.Context, t *wire.Ticket) (net.Conn, error) {
	return e.c.OpenTicket(ctx, t)
}

// Follow implements engine. It goes on over restarts of the engine, and waits for
// none that stays away.
func (e *liveEngine) Follow(ctx context.Context, q *wire.QueryJournal, each func([]*wire.Record) error) error {
	return e.c.Follow(ctx, q, each, e.away(0)...)
}

// Close implements engine. What was asked has been answered or given up, so
// that there is nothing to do about an error.
func (e *liveEngine) Close() { _ = e.c.Close() }

// ask puts a question with a bound on the answer, and checks the answer's type.
func ask[R proto.Message](ctx context.Context, e engine, question proto.Message) (R, error) {
	answer, err := tryAsk[R](ctx, e, question)
	return answer, nearest(ctx, e, question, err)
}

// tryAsk is ask of what need not be there.
func tryAsk[R proto.Message](ctx context.Context, e engine, question proto.Message) (R, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, askTime, errMute)
	defer cancel()
	return askLong[R](ctx, e, question)
}

// askLong is ask where the engine may take its time.
func askLong[R proto.Message](ctx context.Context, e engine, question proto.Message) (R, error) {
	var none R
	answer, err := e.Ask(ctx, question)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return none, err
	}
	r, ok := answer.(R)
	if !ok {
		return none, fmt.Errorf("the engine answered %T to %T: engine and CLI are of different versions", answer, question)
	}
	return r, nil
}

// errMute is an engine that takes questions and answers nothing, errSilent one that
// takes connections and does not say hello.
var (
	errMute error = &failure{
		code: exitNoEngine, kind: "unavailable", hint: "arcbox engine status",
		message: fmt.Sprintf("the engine took the question and did not answer within %s", askTime),
	}
	errSilent error = &failure{
		code: exitNoEngine, kind: "unavailable", hint: "arcbox engine status",
		message: fmt.Sprintf("the engine took the connection and said nothing within %s", dialTime),
	}
)

// command asks for a change and waits until its outcome is on disk.
func command(ctx context.Context, e engine, msg proto.Message) (*wire.Done, error) {
	done, err := e.Command(ctx, msg)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return done, nearest(ctx, e, msg, err)
}
