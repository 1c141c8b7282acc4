package guest

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// Listener is a TCP port of the guest at which somebody listens.
type Listener struct {
	Port uint16
	Addr netip.Addr // where it has to be reached; the zero address = on the guest's loopback
}

// Listeners calls each with what the guest listens at, at once and whenever that is
// something else, until ctx is over or the connection ends; its time is the guest's
// to wait. more is how many further ones the guest has left out. What comes is the
// guest's word: ports, each once, and addresses, nothing else of which is checked.
func (c *Client) Listeners(ctx context.Context, each func(list []Listener, more uint32)) error {
	if err := c.need(wire.AbilityListeners); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.agent.Listeners(ctx, &wire.ListenersRequest{})
	for err == nil {
		var reply *wire.ListenersReply
		if reply, err = stream.Recv(); err != nil {
			break
		}
		list, err := checkListeners(reply)
		if err != nil {
			return fmt.Errorf("%w: listeners: %w", ErrProtocol, err)
		}
		each(list, reply.GetMore())
	}
	return callError(ctx, "listeners", err)
}

func checkListeners(r *wire.ListenersReply) ([]Listener, error) {
	if n := len(r.GetListeners()); n > wire.MaxListeners {
		return nil, fmt.Errorf("%d of them, at most %d", n, wire.MaxListeners)
	}
	var list []Listener
	seen := map[uint32]bool{}
	for _, w := range r.GetListeners() {
		port := w.GetPort()
		if port < 1 || port > 1<<16-1 || seen[port] {
			return nil, fmt.Errorf("port %d: 1 to 65535, each once", port)
		}
		seen[port] = true
		l := Listener{Port: uint16(port)}
		if b := w.GetAddress(); len(b) > 0 {
			addr, ok := netip.AddrFromSlice(b)
			if !ok || addr.IsMulticast() || addr.IsUnspecified() {
				return nil, fmt.Errorf("port %d: address of %d bytes: one that is listened at", port, len(b))
			}
			l.Addr = addr.Unmap()
		}
		list = append(list, l)
	}
	return list, nil
}
