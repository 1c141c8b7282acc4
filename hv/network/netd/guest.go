package netd

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
	"github.com/arcboxlabs/arcbox-engine/hv"
	"github.com/arcboxlabs/arcbox-engine/hv/network/api"
	"github.com/arcboxlabs/arcbox-engine/hv/vmhost/client"
)

// guestTime bounds the way to a guest's socket.
const guestTime = 15 * time.Second

// dialGuest connects to a socket of the guest: to its VM host, which shows the
// token, and to its agent, which dials there.
func (a *attached) dialGuest(ctx context.Context, f api.Forward) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, guestTime)
	defer cancel()
	c, err := a.dialAgent(ctx)
	if err != nil {
		return nil, fmt.Errorf("dial guest: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	err = wire.AskForward(c, f.Protocol, f.To)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("dial guest: %w", err)
	}
	return client.Plain(c), nil
}

// dialAgent connects to the guest's agent.
func (a *attached) dialAgent(ctx context.Context) (net.Conn, error) {
	return client.Connect(client.Place{RunDir: a.host}).Dial(ctx, hv.AgentPort)
}
