package qemu

import (
	"strings"
	"testing"
	"time"

	"github.com/arcboxlabs/arcbox-engine/hv"
)

func TestSteady(t *testing.T) {
	for info, want := range map[string]bool{
		"":                              false,
		"processor\t: 0\n":              false,
		"flags\t\t: fpu tsc\n":          false,
		"flags\t\t: fpu constant_tsc\n": false,
		"flags\t\t: fpu constant_tsc rep_good nonstop_tsc cpuid":              true,
		"processor\t: 0\nflags\t\t: constant_tsc nonstop_tsc\nflags\t: fpu\n": true,
		"Features\t: fp asimd constant_tsc nonstop_tsc\n":                     false,
	} {
		if got := steady(info); got != want {
			t.Errorf("steady(%q) = %v", info, got)
		}
	}
}

func TestKHz(t *testing.T) {
	at := time.Now()
	first := tick{at, 1000}
	for later, want := range map[tick]int{
		{at.Add(10 * time.Millisecond), 1000 + 25_961_220}:     2_596_122,
		{at.Add(10 * time.Millisecond), 1000 + 25_961_220_000}: 0, // 2.6 THz
		{at.Add(10 * time.Millisecond), 1000 + 25_961}:         0, // 2.6 MHz
		{at.Add(10 * time.Millisecond), 1000}:                  0,
		{at.Add(10 * time.Millisecond), 10}:                    0,
		{at, 2000}:                                             0,
		{at.Add(-time.Hour), 1 << 40}:                          0,
	} {
		if got := first.khz(later); got != want {
			t.Errorf("%v later, %d: %d kHz, want %d", later.at.Sub(at), later.counter, got, want)
		}
	}
}

// Two measurements of a steady counter agree, however busy the host is.
func TestTSCKHz(t *testing.T) {
	a, b := TSCKHz(), TSCKHz()
	if !steadyTSC() {
		if a != 0 || b != 0 {
			t.Fatalf("%d and %d kHz on a host without a steady counter", a, b)
		}
		return
	}
	if a == 0 || a-b > a/1000 || b-a > a/1000 {
		t.Fatalf("%d, then %d kHz", a, b)
	}
}

// Only under TCG a guest reads the host's counter.
func TestSettleTSC(t *testing.T) {
	s := sampleSpec()
	s.TSCKHz = 5
	if got := settleTSC(s, now()).TSCKHz; (got != 0) != steadyTSC() || got == 5 {
		t.Errorf("under TCG: %d kHz", got)
	}
	s.Accel = hv.AccelKVM
	if got := settleTSC(s, now()).TSCKHz; got != 0 {
		t.Errorf("under KVM: %d kHz", got)
	}
}

func TestSettleBoard(t *testing.T) {
	for name, c := range map[string]struct {
		board hv.Board
		only  hv.Accel
		khz   int
		want  hv.Board
		says  string
	}{
		"none":                  {"", "", 0, "", ""},
		"q35":                   {hv.BoardQ35, "", 0, hv.BoardQ35, ""},
		"microvm":               {hv.BoardMicroVM, "", 7, hv.BoardMicroVM, ""},
		"tried under TCG":       {hv.BoardMicroVM, hv.AccelTCG, 7, hv.BoardMicroVM, ""},
		"tried under KVM":       {hv.BoardMicroVM, hv.AccelKVM, 7, hv.BoardQ35, ""},
		"tried under both":      {hv.BoardMicroVM, hv.AccelAuto, 7, hv.BoardMicroVM, ""},
		"chosen, no counter":    {hv.BoardMicroVM, hv.AccelTCG, 0, hv.BoardQ35, ""},
		"asked for, no counter": {hv.BoardMicroVM, "", 0, "", `board "microvm"`},
	} {
		s := sampleSpec()
		s.Board, s.BoardAccel, s.TSCKHz = c.board, c.only, c.khz
		got, err := settleBoard(s)
		if (err != nil) != (c.says != "") || err != nil && !strings.Contains(err.Error(), c.says) || err == nil && got.Board != c.want {
			t.Errorf("%s: %q, %v", name, got.Board, err)
		}
	}
}
