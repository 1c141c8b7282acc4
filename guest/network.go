package guest

import (
	"context"
	"time"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// Address waits for an address of the interface with a MAC that is good beyond
// the link, at most for wait. "" = none came.
func (c *Client) Address(ctx context.Context, mac string, wait time.Duration) (string, error) {
	if err := c.need(wire.AbilityAddress); err != nil {
		return "", err
	}
	r, err := c.agent.Address(ctx, &wire.AddressRequest{Mac: mac, WaitNanos: int64(wait)})
	if err != nil {
		return "", callError(ctx, "address", err)
	}
	return SelectAddress([]*wire.Interface{{Mac: mac, Addresses: r.GetAddresses()}}, mac), nil
}
