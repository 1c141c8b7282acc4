package guest

import (
	"context"
	"time"
)

// fellBehind is how far a guest's clock must be behind the host's to be set: far
// more than an answer is under way.
const fellBehind = 2 * time.Second

// CatchUp gives the guest the host's time where its clock fell behind, as it does
// while the host sleeps or the VM is stopped, and says by how much. A clock that is
// ahead is somebody's will, and left alone.
func (c *Client) CatchUp(ctx context.Context) (time.Duration, error) {
	asked := time.Now()
	seen, err := c.Clock(ctx, time.Time{})
	if err != nil {
		return 0, err
	}
	behind := asked.Sub(time.Unix(0, seen.GetUnixNanos()))
	if behind < fellBehind {
		return 0, nil
	}
	if _, err := c.Clock(ctx, time.Now()); err != nil {
		return 0, err
	}
	return behind, nil
}
