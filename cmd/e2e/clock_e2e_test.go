//go:build e2e

package e2e

import (
	"strconv"
	"testing"
	"time"
)

// TestClockFallsBehind: a guest whose clock is behind, as after a host's sleep, has
// the host's time with the next check; one that is ahead keeps its own.
func TestClockFallsBehind(t *testing.T) {
	b := newBed(t)
	for _, name := range []string{"late", "early"} {
		b.ok("create", name, "--memory", "128", "--cpus", "1")
		b.ok("start", name)
	}
	ahead := time.Now().Add(24 * time.Hour)
	b.ok("exec", "early", "--", "date", "-s", "@"+strconv.FormatInt(ahead.Unix(), 10))
	b.ok("exec", "late", "--", "date", "-s", "@1000000000")
	got := b.ok("exec", "--timeout", "1m", "late", "--", "sh", "-c", "while [ $(date +%s) -lt 1100000000 ]; do sleep 0.1; done; date +%s")
	if s, err := strconv.ParseInt(got, 10, 64); err != nil || time.Since(time.Unix(s, 0)).Abs() > 10*time.Second {
		t.Errorf("its clock says %q, %v", got, err)
	}
	if s, err := strconv.ParseInt(b.ok("exec", "early", "--", "date", "+%s"), 10, 64); err != nil || s < ahead.Unix() {
		t.Errorf("the clock that was ahead says %d, %v", s, err)
	}
}
