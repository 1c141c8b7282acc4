package main

import (
	"context"
	"errors"
	"net"
	"runtime/debug"
	"time"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/guest"
)

// agentPort is the vsock port of the guest's agent.
const agentPort = 1024

// deadlineSkew is how early a deadline may be reported.
const deadlineSkew = 50 * time.Millisecond

// guest connects to a machine's agent: a message authorises it, and the bytes
// flow on a connection of their own, past the engine.
func (a *app) guest(ctx context.Context, e engine, name string) (*guest.Client, error) {
	return guest.Connect(ctx, func(ctx context.Context) (net.Conn, error) {
		t, err := ask[*wire.Ticket](ctx, e, &wire.OpenGuest{Request: request(), Name: name, Port: agentPort})
		if err != nil {
			return nil, err
		}
		return e.Open(ctx, t)
	})
}

// withAgentTime bounds a talk to an agent, with an error that says who was
// silent.
func withAgentTime(ctx context.Context, name string, limit time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, limit, &failure{
		code: exitTimeout, kind: "timeout", machine: name,
		message: "the agent of " + name + " did not answer in " + limit.String(),
		hint:    "arcbox inspect " + name + "\narcbox logs " + name,
	})
}

// withGuest does something with a machine's agent. An agent that does not even
// greet is not waited for without end.
func (a *app) withGuest(ctx context.Context, name string, do func(context.Context, *guest.Client) error) error {
	e, err := a.engine(ctx)
	if err != nil {
		return err
	}
	defer e.Close()
	reach, cancel := withAgentTime(ctx, name, askTime)
	defer cancel()
	c, err := a.guest(reach, e, name)
	if err != nil {
		return lost(name, orCause(reach, err))
	}
	defer c.Close()         //nolint:errcheck // done with it
	debug.SetGCPercent(100) // no short command any more: what flows should not pile up as garbage
	return lost(name, orCause(ctx, do(ctx, c)))
}

// lost says where it stands why a machine's agent is gone before or in a talk.
func lost(name string, err error) error {
	if !errors.Is(err, guest.ErrGone) {
		return err
	}
	return &failure{code: exitGeneral, kind: "failed", machine: name, message: err.Error(), hint: "arcbox journal why " + name, cause: err}
}

// orCause is why ctx is over, where that is what err comes from. gRPC and the
// agent know the deadline as well, and may tell of it a moment earlier.
func orCause(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if limit, ok := ctx.Deadline(); ok && time.Until(limit) < deadlineSkew {
		<-ctx.Done()
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
