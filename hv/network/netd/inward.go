package netd

import (
	"context"
	"fmt"
	"net"

	"github.com/arcboxlabs/arcbox-engine/guest"
	"github.com/arcboxlabs/arcbox-engine/hv/network"
	"github.com/arcboxlabs/arcbox-engine/hv/vmhost/client"
)

// serveIn has the guest's agent listen for a socket of the host. Which one, only the
// engine has said.
func (f *forward) serveIn() error {
	limited, cancel := context.WithTimeout(f.ctx, guestTime)
	c, err := guest.Connect(limited, f.a.dialAgent)
	cancel()
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	places := make(chan struct{}, maxConns)
	return c.Listen(f.ctx, f.To, func() { f.found(nil) }, func(key guest.Key) {
		select {
		case places <- struct{}{}:
		default:
			return // the agent gives up by itself
		}
		go func() {
			defer func() { <-places }()
			f.leadIn(key)
		}()
	})
}

// leadIn carries one connection of the guest's to the host's socket, with the rights of
// this process. That nobody listens there is the forward's state until somebody does.
func (f *forward) leadIn(key guest.Key) {
	ctx, cancel := context.WithTimeout(f.ctx, guestTime)
	defer cancel()
	g, err := f.inTurn(ctx, func() (net.Conn, error) { return guest.Take(ctx, f.a.dialAgent, key) })
	if err != nil {
		f.a.d.log.Debug("forward", "machine", f.a.id, "from", f.To, "err", err)
		return
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", f.Listen)
	if err != nil {
		_ = g.Close()
		f.found(fmt.Errorf("the host's socket: %s", plain(err)))
		return
	}
	f.found(nil)
	network.Join(f.ctx, client.Plain(g), c)
}
