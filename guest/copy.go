package guest

import (
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/arcboxlabs/arcbox-engine/guest/tree"
	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// CopyTarget is where a copy goes in the guest.
type CopyTarget struct {
	Path string // absolute, or below the user's home
	// Name is what it is called where Path is a directory; "." = its contents
	// are put there, "" = a directory is refused.
	Name string
	Into bool   // Path must be a directory
	User string // name, uid, name:group, uid:gid, whose it is; "" = root
}

// CopyIn writes in the guest what send sends, e.g. by tree.Send.
func (c *Client) CopyIn(ctx context.Context, to CopyTarget, send func(context.Context, tree.Sink) error) error {
	if err := c.need(wire.AbilityCopy); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // an end that is none: the agent drops what is half there
	stream, err := c.agent.CopyIn(ctx)
	if err != nil {
		return callError(ctx, "copy", err)
	}
	start := &wire.CopyInStart{Path: []byte(to.Path), Name: []byte(to.Name), Into: to.Into, User: to.User}
	err = stream.Send(&wire.CopyInRequest{Msg: &wire.CopyInRequest_Start{Start: start}})
	if err == nil {
		err = send(ctx, func(p *wire.CopyPart) error {
			return stream.Send(&wire.CopyInRequest{Msg: &wire.CopyInRequest_Part{Part: p}})
		})
	}
	if err != nil && !errors.Is(err, io.EOF) { // io.EOF: the agent has an answer already
		return err
	}
	if _, err := stream.CloseAndRecv(); err != nil {
		return copyError(ctx, err)
	}
	return nil
}

// copyError tells what the guest's system said of a file from what is wrong
// with the call.
func copyError(ctx context.Context, err error) error {
	if s := status.Convert(err); ctx.Err() == nil && s.Code() == codes.FailedPrecondition {
		return fmt.Errorf("copy: in the guest: %q", short(s.Message()))
	}
	return callError(ctx, "copy", err)
}

// CopyOut reads a file or a tree of the guest. What comes is the guest's:
// receive, e.g. tree.Receive, must mistrust it.
func (c *Client) CopyOut(ctx context.Context, path, user string, receive func(tree.Source) error) error {
	if err := c.need(wire.AbilityCopy); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.agent.CopyOut(ctx, &wire.CopyOutRequest{Path: []byte(path), User: user}, upTo(maxStream))
	if err != nil {
		return callError(ctx, "copy", err)
	}
	return receive(func() (*wire.CopyPart, error) {
		p, err := stream.Recv()
		if err != nil && !errors.Is(err, io.EOF) {
			err = copyError(ctx, err)
		}
		return p, err
	})
}
