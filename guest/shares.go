package guest

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// Shares waits until each share of the launch is mounted or can't be, at most for
// wait, and says how each does. The lost ones, which the host serves no longer, are
// covered. Without shares there is nothing to ask.
func (c *Client) Shares(ctx context.Context, wait time.Duration, lost ...string) ([]*wire.ShareState, error) {
	if !slices.Contains(c.Hello().GetAbilities(), wire.AbilityShares) {
		return nil, nil
	}
	r, err := c.agent.Shares(ctx, &wire.SharesRequest{WaitNanos: int64(wait), Lost: lost})
	if err != nil {
		return nil, fmt.Errorf("guest shares: %w", err)
	}
	return r.GetShares(), nil
}
