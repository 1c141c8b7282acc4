package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
)

// Door is a way to an engine: its own host's sockets, or what leads to another
// host. Its String names it in errors.
type Door interface {
	// Endpoint connects to the gateway; ErrNoEngine where nobody listens, ErrShut
	// where this client is not let in.
	Endpoint(ctx context.Context) (net.Conn, error)
	// Stream connects to where tickets are shown; socket is what the ticket
	// says of it, and means something on the engine's host only. The connection
	// can be closed in one direction.
	Stream(ctx context.Context, socket string) (net.Conn, error)
	String() string
}

// Socket is the door of an engine on this host.
type Socket string

var _ Door = Socket("")

// String implements Door.
func (s Socket) String() string { return string(s) }

// Endpoint implements Door.
func (s Socket) Endpoint(ctx context.Context) (net.Conn, error) { return dial(ctx, string(s)) }

// Stream implements Door.
func (Socket) Stream(ctx context.Context, socket string) (net.Conn, error) { return dial(ctx, socket) }

func dial(ctx context.Context, socket string) (net.Conn, error) {
	raw, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	switch {
	case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("%w (%s)", ErrNoEngine, socket)
	case errors.Is(err, syscall.EINVAL):
		return nil, fmt.Errorf("client: the socket path %q has %d bytes, which is too long: set ARCBOX_HOME to a shorter directory: %w", socket, len(socket), err)
	case err != nil:
		return nil, fmt.Errorf("client: connect to the engine: %w", err)
	}
	return raw, nil
}
