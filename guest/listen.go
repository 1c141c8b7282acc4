package guest

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// Key is of one connection that waits in the guest to be taken.
type Key [wire.BesideKey]byte

// Listen has the agent listen at a path of the guest, and calls ready when it does and
// each for whoever connects there, until ctx is over or the connection ends. What is
// at the other end of the keys is the caller's to say: the guest names nothing.
func (c *Client) Listen(ctx context.Context, path string, ready func(), each func(Key)) error {
	if err := c.need(wire.AbilityListen); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.agent.Listen(ctx, &wire.ListenRequest{Path: path})
	if err == nil {
		_, err = stream.Recv()
	}
	if err == nil {
		ready()
	}
	for err == nil {
		var reply *wire.ListenReply
		if reply, err = stream.Recv(); err != nil {
			break
		}
		if len(reply.GetKey()) != wire.BesideKey {
			return fmt.Errorf("%w: listen: a key of %d bytes", ErrProtocol, len(reply.GetKey()))
		}
		each(Key(reply.GetKey()))
	}
	return callError(ctx, "listen", err)
}

// Take opens the host's end of a connection that waits in the guest. ctx bounds it.
func Take(ctx context.Context, dial Dialer, key Key) (net.Conn, error) {
	c, err := dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("guest agent: dial: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	_, err = c.Write(append([]byte(wire.Beside), key[:]...))
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("guest agent: take: %w", err)
	}
	return c, nil
}
