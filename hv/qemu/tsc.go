package qemu

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/arcboxlabs/arcbox-engine/hv"
)

// Under TCG a guest's time-stamp counter is the host's. A guest that has to find
// out how fast it runs counts it against a timer that a busy host lets tick late:
// it gets the frequency wrong by half, takes the counter for broken, or waits for
// ever. So it is told. "reliable" keeps it from giving the counter up because the
// CPU's model promises nothing about it: a microvm has no other clock than one
// that loses time with every tick that comes late.

// tick is one look at the host's clock and at its counter.
type tick struct {
	at      time.Time
	counter uint64
}

const (
	tickTries = 20                    // of which the least disturbed counts
	tscSpan   = 10 * time.Millisecond // between two ticks: some ten millionths of error
)

// now looks at both clocks, as close together as the host lets it.
func now() tick {
	var best tick
	least := time.Duration(-1)
	for range tickTries {
		before := time.Now()
		counter := readTSC()
		took := time.Since(before)
		if least < 0 || took < least {
			best, least = tick{before.Add(took / 2), counter}, took
		}
	}
	return best
}

// khz is the counter's frequency between two ticks; 0 = there is no telling.
func (t tick) khz(later tick) int {
	span := later.at.Sub(t.at)
	if span <= 0 || later.counter <= t.counter {
		return 0
	}
	khz := float64(later.counter-t.counter) / float64(span) * 1e6
	if khz < 1e5 || khz > 1e8 { // 100 MHz to 100 GHz
		return 0
	}
	return int(khz + 0.5)
}

// TSCKHz measures how fast the host's time-stamp counter runs. It takes tscSpan;
// 0 = the host has none, or one that stops and changes its pace.
func TSCKHz() int {
	if !steadyTSC() {
		return 0
	}
	return measured(now())
}

// measured waits until tscSpan has passed since the first tick.
func measured(first tick) int {
	time.Sleep(tscSpan - time.Since(first.at))
	return first.khz(now())
}

// steadyTSC tells whether the host's counter runs at one pace and never stops.
func steadyTSC() bool {
	if !hasTSC {
		return false
	}
	info, err := os.ReadFile("/proc/cpuinfo")
	return err == nil && steady(string(info))
}

func steady(cpuinfo string) bool {
	for line := range strings.Lines(cpuinfo) {
		if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "flags" {
			flags := strings.Fields(value)
			return slices.Contains(flags, "constant_tsc") && slices.Contains(flags, "nonstop_tsc")
		}
	}
	return false
}

// settleTSC says in the spec how fast the guest's counter runs, where it has to
// be told.
func settleTSC(s hv.Spec, first tick) hv.Spec {
	s.TSCKHz = 0
	if s.Accel == hv.AccelTCG && s.Architecture() == hv.ArchAMD64 && steadyTSC() {
		s.TSCKHz = measured(first)
	}
	return s
}

// settleBoard says which board the guest gets. One that was chosen for it gives
// way where it was not tried; one that a person asked for does not.
func settleBoard(s hv.Spec) (hv.Spec, error) {
	chosen := s.BoardAccel != ""
	switch {
	case s.Board == "":
	case chosen && s.BoardAccel != hv.AccelAuto && s.BoardAccel != s.Accel:
		s.Board = hv.BoardQ35
	case s.Board == hv.BoardMicroVM && s.Accel == hv.AccelTCG && s.TSCKHz == 0 && chosen:
		s.Board = hv.BoardQ35
	case s.Board == hv.BoardMicroVM && s.Accel == hv.AccelTCG && s.TSCKHz == 0:
		return s, fmt.Errorf("hv/qemu: board %q: without KVM its guests need a host with a steady time-stamp counter (constant_tsc and nonstop_tsc in /proc/cpuinfo); allowed here is %q",
			s.Board, hv.BoardQ35)
	}
	return s, nil
}
