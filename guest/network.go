package guest

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// Address waits for an address of an interface that is good beyond the link, at
// most for wait, and returns all that the interface has.
func (c *Client) Address(ctx context.Context, mac string, wait time.Duration) ([]string, error) {
	if !slices.Contains(c.Hello().GetAbilities(), wire.AbilityAddress) {
		return nil, fmt.Errorf("guest agent %s: it can't be asked for an address", c.Hello().GetVersion())
	}
	r, err := c.agent.Address(ctx, &wire.AddressRequest{Mac: mac, WaitNanos: int64(wait)})
	if err != nil {
		return nil, fmt.Errorf("guest address: %w", err)
	}
	return r.GetAddresses(), nil
}
