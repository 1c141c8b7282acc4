package fsm

// State is where a machine stands in its life. There is no "failed": a machine
// that failed is Stopped, with a [Cause].
type State string

// The states. Removed is terminal and never listed.
const (
	// None is the state before the first record.
	None     State = ""
	Created  State = "Created"
	Starting State = "Starting"
	Running  State = "Running"
	Stopping State = "Stopping"
	Stopped  State = "Stopped"
	Removed  State = "Removed"
)

// States lists every state that a machine can be in, in the order of its life.
var States = []State{Created, Starting, Running, Stopping, Stopped, Removed}

// Live tells whether a VM may exist for a machine in this state.
func (s State) Live() bool { return s == Starting || s == Running || s == Stopping }

// Cause says why a machine's VM ended.
type Cause string

// The causes.
const (
	CauseStopped      Cause = "stopped"       // asked to stop, and it did
	CauseKilled       Cause = "killed"        // killed, by request or from outside
	CausePoweredOff   Cause = "powered-off"   // the guest powered itself off
	CauseCrashed      Cause = "crashed"       // the hypervisor ended, or the guest reset before it was ready
	CauseGuestPanic   Cause = "guest-panic"   // the guest's kernel panicked
	CauseLaunchFailed Cause = "launch-failed" // the VM never came to be
	CauseAgentTimeout Cause = "agent-timeout" // the agent did not answer in the time allowed
	CauseHostLost     Cause = "host-lost"     // the host itself went down
	CauseSaved        Cause = "saved"         // its guest was saved, to go on at the next start
)

// Causes lists every cause.
var Causes = []Cause{
	CauseStopped, CauseKilled, CausePoweredOff, CauseCrashed,
	CauseGuestPanic, CauseLaunchFailed, CauseAgentTimeout, CauseHostLost, CauseSaved,
}

// Desired is what the last person to say so wants of a machine.
type Desired string

// The desired states.
const (
	DesiredRunning Desired = "running"
	DesiredStopped Desired = "stopped"
)

// HealthLevel is how well a machine does, beside its state.
type HealthLevel string

// The levels of health.
const (
	HealthOK       HealthLevel = "ok"
	HealthDegraded HealthLevel = "degraded"
	HealthUnknown  HealthLevel = "unknown"
	HealthPaused   HealthLevel = "paused" // somebody has its guest held still
)

// Health is a level and, unless it is ok, the reason.
type Health struct {
	Level HealthLevel `cbor:"1,keyasint,omitempty" json:"level"`
	Why   string      `cbor:"2,keyasint,omitempty" json:"why,omitempty"`
}

// Reason says on whose behalf a machine was started or stopped.
type Reason string

// The reasons. Only person, restart and remove change the desired state.
const (
	ReasonPerson       Reason = "person"
	ReasonRestart      Reason = "restart"
	ReasonRemove       Reason = "remove"
	ReasonEngineStop   Reason = "engine-stop"
	ReasonHostShutdown Reason = "host-shutdown"
	ReasonPolicy       Reason = "policy"
)

// Then says what a stop is followed by.
type Then string

// What may follow a stop.
const (
	ThenNothing Then = ""
	ThenStart   Then = "start"
	ThenRemove  Then = "remove"
)

// Policy says when a machine that ended is started again by itself.
type Policy string

// The restart policies.
const (
	PolicyNo        Policy = "no"
	PolicyOnFailure Policy = "on-failure"
	PolicyAlways    Policy = "always"
)

// Policies lists every restart policy.
var Policies = []Policy{PolicyNo, PolicyOnFailure, PolicyAlways}
