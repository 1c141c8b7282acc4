package agent

import (
	"context"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// stepFrom is how far off the clock must be to be stepped. Nearer, it is
// slewed, so that time never goes backwards for a program in the guest.
const stepFrom = time.Second

// clock is the guest's wall clock.
type clock struct {
	now  func() int64 // nanoseconds since 1970
	step func(to int64) error
	slew func(by time.Duration) error
}

var systemClock = clock{
	now: func() int64 { return time.Now().UnixNano() },
	step: func(to int64) error {
		ts := unix.NsecToTimespec(to)
		return unix.ClockSettime(unix.CLOCK_REALTIME, &ts)
	},
	slew: func(by time.Duration) error {
		// The old adjtime: microseconds, taking the place of a slew under way.
		_, err := unix.Adjtimex(&unix.Timex{Modes: unix.ADJ_OFFSET_SINGLESHOT, Offset: by.Microseconds()})
		return err
	},
}

// Clock reads the clock and, where asked, sets it.
func (a *Agent) Clock(_ context.Context, req *wire.ClockRequest) (*wire.ClockReply, error) {
	now, asked := a.clock.now(), req.GetUnixNanos()
	if asked < 0 {
		return nil, status.Errorf(codes.InvalidArgument, "unix_nanos: %d, want a time after 1970, or 0 to read", asked)
	}
	reply := &wire.ClockReply{UnixNanos: now}
	if asked == 0 {
		return reply, nil
	}
	reply.OffsetNanos = now - asked
	off := time.Duration(reply.OffsetNanos)
	var err error
	if off.Abs() > stepFrom {
		reply.Stepped = true
		err = a.clock.step(asked)
	} else {
		err = a.clock.slew(-off)
	}
	if err != nil {
		return nil, status.Errorf(codes.Internal, "set the guest's clock: %v", err)
	}
	return reply, nil
}

// sinceBoot is the time since the kernel started.
func sinceBoot() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}
