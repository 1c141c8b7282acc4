package actors

import (
	"context"
	"time"

	"github.com/arcboxlabs/arcbox-engine/fsm"
)

// Clock is the time. Tests have a fake one.
type Clock interface {
	// Now is the wall clock.
	Now() time.Time
	// Moment is the clock that nobody can set, for deadlines.
	Moment() fsm.Moment
	// AfterFunc calls f in a goroutine of its own after d, unless the returned
	// function is called before.
	AfterFunc(d time.Duration, f func()) (stop func() bool)
}

// sleep waits for d, or until ctx is over; it tells whether it slept well.
func sleep(ctx context.Context, c Clock, d time.Duration) bool {
	done := make(chan struct{})
	stop := c.AfterFunc(d, func() { close(done) })
	select {
	case <-done:
		return ctx.Err() == nil
	case <-ctx.Done():
		stop()
		return false
	}
}

// within is ctx with a time limit on the clock.
func within(ctx context.Context, c Clock, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := c.AfterFunc(d, func() { cancel(context.DeadlineExceeded) })
	return ctx, func() { stop(); cancel(context.Canceled) }
}
