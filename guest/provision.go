package guest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// ErrOccupied: another set-up is under way in the guest.
var ErrOccupied = errors.New("guest agent: another set-up is under way")

// Provision is a set-up that an agent is asked for: it runs a script, or waits
// for cloud-init. Who asks again with the same key hears of the same one.
type Provision struct {
	Key     string // lower-case letters, digits and hyphens
	Script  []byte // at most wire.MaxScript bytes; nil = cloud-init
	Timeout time.Duration
}

// Provisioned is what became of a set-up. Its texts are the guest's: they are to
// be quoted where they are shown.
type Provisioned struct {
	Status      int // exit status; where a signal ended it, that is not 0
	Signal      int
	TimedOut    bool
	Interrupted bool   // the machine ended before it did
	Error       string // why, where it did not run to an end
	Took        time.Duration
	Tail        []byte // the end of its output
}

// Provision has the agent carry a set-up out, and awaits its result. The output
// goes to out as it comes, from its beginning or as much of it as the agent has.
func (c *Client) Provision(ctx context.Context, p Provision, out io.Writer) (Provisioned, error) {
	if err := c.need(wire.AbilityProvision); err != nil {
		return Provisioned{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.agent.Provision(ctx, &wire.ProvisionRequest{
		Key: p.Key, Script: p.Script, CloudInit: len(p.Script) == 0, TimeoutNanos: int64(p.Timeout),
	}, upTo(maxStream))
	for err == nil {
		var reply *wire.ProvisionReply
		if reply, err = stream.Recv(); err != nil {
			break
		}
		if done := reply.GetDone(); done != nil {
			return provisioned(done)
		}
		_, err = out.Write(reply.GetOutput())
		if err != nil {
			return Provisioned{}, fmt.Errorf("set-up: its output: %w", err)
		}
	}
	switch {
	case errors.Is(err, io.EOF):
		return Provisioned{}, fmt.Errorf("guest agent: set-up: %w: it ended without a result", ErrProtocol)
	case ctx.Err() == nil && status.Code(err) == codes.FailedPrecondition:
		return Provisioned{}, ErrOccupied
	}
	return Provisioned{}, callError(ctx, "set-up", err)
}

// provisioned checks a result: it comes near a journal.
func provisioned(d *wire.ProvisionDone) (Provisioned, error) {
	took := time.Duration(d.GetTookNanos())
	if n := len(d.GetTail()); n > wire.MaxTail || took < 0 {
		return Provisioned{}, fmt.Errorf("guest agent: set-up: %w: %d bytes of output, took %v", ErrProtocol, n, took)
	}
	if err := checkEnd(d); err != nil {
		return Provisioned{}, fmt.Errorf("guest agent: set-up: %w", err)
	}
	return Provisioned{
		Status: int(d.GetStatus()), Signal: int(d.GetSignal()), TimedOut: d.GetTimedOut(), Interrupted: d.GetInterrupted(),
		Error: short(d.GetError()), Took: took, Tail: d.GetTail(),
	}, nil
}
