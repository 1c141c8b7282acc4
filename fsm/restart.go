package fsm

import (
	"slices"
	"time"
)

// When tells the two times at which the restart policy is asked.
type When string

// The times.
const (
	Live When = "live" // right after the end
	Boot When = "boot" // when an engine starts
)

// RestartRow is one row of Table 3: under the policy, an end with one of the
// causes leads to another start at the times listed.
type RestartRow struct {
	Policy  Policy
	Causes  []Cause
	ByHost  bool // the end answered an engine-stop or host-shutdown
	When    []When
	Comment string
}

// Failures are the causes that on-failure starts again. A kill counts where
// nobody asked the engine for it.
var Failures = []Cause{CauseCrashed, CauseGuestPanic, CauseLaunchFailed, CauseAgentTimeout, CauseKilled, CauseHostLost}

// Restarts is Table 3. What no row names is not started. A person's stop wins
// over every row: the desired state must be running.
var Restarts = []RestartRow{
	{PolicyOnFailure, Failures, false, []When{Live, Boot}, "a failure"},
	{PolicyAlways, Failures, false, []When{Live, Boot}, "a failure"},
	{PolicyAlways, []Cause{CausePoweredOff, CauseStopped}, false, []When{Live, Boot}, "an end that was no failure"},
	{PolicyAlways, []Cause{CauseSaved}, false, []When{Live, Boot}, "it was saved when nobody wanted that any more"},
	{PolicyAlways, Causes, true, []When{Boot}, "it was stopped with the engine or the host"},
}

// The back-off of the restart policy.
const (
	BackoffFirst = time.Second      // before the first attempt; doubles with each
	BackoffMost  = time.Minute      // never longer than this
	MaxAttempts  = 10               // failures in a row; then it rests
	StableAfter  = 60 * time.Second // a launch that was ready this long ends the row
)

// What a start is allowed, from launched to ready.
const (
	UsualStart = time.Minute // where nobody says more
	// UnaskedMost bounds a start that nobody asks for: so that MaxAttempts of them,
	// behind a person's one, come to rest within the hour.
	UnaskedMost = 4 * time.Minute
)

// ShouldRestart looks up Table 3.
func ShouldRestart(p Policy, c Cause, stop Reason, w When) bool {
	byHost := stop == ReasonEngineStop || stop == ReasonHostShutdown
	for _, row := range Restarts {
		if row.Policy == p && row.ByHost == byHost && slices.Contains(row.Causes, c) && slices.Contains(row.When, w) {
			return true
		}
	}
	return false
}

// PlanAfter is the restart policy's answer to the end of a machine's launch.
// now and at are the same moment on the two clocks.
func PlanAfter(m Machine, c Cause, w When, now time.Time, at Moment) Plan {
	p := planAfter(m, c, w, now, at)
	if l := m.Launch; l != nil && l.Allowed > UsualStart {
		p.Allowed = min(l.Allowed, UnaskedMost) // a guest that is slow for a person is slow for the policy
	}
	return p
}

// NextAllowed is what a start of a stopped machine is allowed that nobody asks for.
func NextAllowed(m Machine) time.Duration {
	if m.Exit == nil {
		return UsualStart
	}
	return max(m.Exit.Plan.Allowed, UsualStart)
}

func planAfter(m Machine, c Cause, w When, now time.Time, at Moment) Plan {
	var stop Reason
	if m.Stop != nil {
		stop = m.Stop.Reason
		if m.Stop.Then != ThenNothing {
			return Plan{} // what follows the stop follows
		}
	}
	if m.Desired != DesiredRunning || !ShouldRestart(m.Spec.Restart, c, stop, w) {
		return Plan{}
	}
	attempt := 1
	if l := m.Launch; l != nil && !stable(l, at) {
		attempt = l.Attempt + 1
	}
	if attempt > MaxAttempts {
		return Plan{Attempt: attempt, Resting: true}
	}
	return Plan{Start: true, Attempt: attempt, NotBefore: now.Add(Backoff(attempt))}
}

// BootPlan tells whether a booting engine starts a stopped machine that its
// own end, or the host's, had stopped.
func BootPlan(m Machine) bool {
	if m.State != Stopped || m.Exit == nil || m.Damaged || m.Stray != nil || m.Desired != DesiredRunning {
		return false
	}
	byHost := m.Exit.Reason == ReasonEngineStop || m.Exit.Reason == ReasonHostShutdown
	return byHost && ShouldRestart(m.Spec.Restart, m.Exit.Cause, m.Exit.Reason, Boot)
}

func stable(l *Launch, at Moment) bool {
	return l.Ready != nil && l.Ready.At.Boot == at.Boot && at.Mono-l.Ready.At.Mono >= StableAfter
}

// Backoff is the wait before the nth attempt, n from 1.
func Backoff(n int) time.Duration {
	d := BackoffFirst
	for ; n > 1 && d < BackoffMost; n-- {
		d *= 2
	}
	return min(d, BackoffMost)
}
