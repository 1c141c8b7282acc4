package guest

import (
	"context"
	"testing"
	"time"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// slept is an agent whose clock is off.
type slept struct {
	hostile
	off time.Duration
}

func (s *slept) Clock(_ context.Context, r *wire.ClockRequest) (*wire.ClockReply, error) {
	was := time.Now().Add(s.off)
	if r.GetUnixNanos() != 0 {
		s.off = time.Until(time.Unix(0, r.GetUnixNanos()))
	}
	return &wire.ClockReply{UnixNanos: was.UnixNano()}, nil
}

// TestCatchUp: only a clock that fell behind is set, and once.
func TestCatchUp(t *testing.T) {
	for name, test := range map[string]struct {
		off  time.Duration
		sets bool
	}{
		"right":  {0, false},
		"near":   {-time.Second, false},
		"asleep": {-8 * time.Hour, true},
		"ahead":  {time.Hour, false},
		"absurd": {time.Until(time.Unix(0, -1<<63)), true},
	} {
		s := &slept{off: test.off}
		dial, _ := hostileAgent(t, s)
		c, err := Connect(t.Context(), dial)
		if err != nil {
			t.Fatal(err)
		}
		behind, err := c.CatchUp(t.Context())
		if err != nil || (behind > 0) != test.sets || test.sets && behind < -test.off-time.Minute && test.off > -100*365*24*time.Hour {
			t.Errorf("%s: behind %s, %v", name, behind, err)
		}
		again, err := c.CatchUp(t.Context())
		if err != nil || again != 0 {
			t.Errorf("%s: once more %s, %v", name, again, err)
		}
		if left := s.off.Abs(); test.sets && left > time.Minute || !test.sets && s.off != test.off {
			t.Errorf("%s: it is off by %s", name, s.off)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}
