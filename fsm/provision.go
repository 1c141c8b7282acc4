package fsm

import (
	"fmt"
	"time"
)

// ProvisionKind is how a machine is set up.
type ProvisionKind string

// The kinds of a set-up.
const (
	ProvisionScript   ProvisionKind = "script"    // the agent runs it
	ProvisionUserData ProvisionKind = "user-data" // the image's cloud-init takes it
)

// Provision is a machine's first-boot set-up as it was asked for. What is run may
// hold secrets: only its digest stands here.
type Provision struct {
	Kind    ProvisionKind `cbor:"1,keyasint" json:"kind"`
	Digest  string        `cbor:"2,keyasint" json:"digest"` // SHA-256, in hexadecimal
	Timeout time.Duration `cbor:"3,keyasint" json:"timeout"`
	// Round is how often it was asked for again.
	Round int `cbor:"4,keyasint,omitempty" json:"round,omitempty"`
}

// ProvisionedFact is the payload of provisioned: what became of one round of the
// set-up.
type ProvisionedFact struct {
	Round       int           `cbor:"1,keyasint,omitempty" json:"round,omitempty"`
	Status      int           `cbor:"2,keyasint" json:"status"`
	Signal      int           `cbor:"3,keyasint,omitempty" json:"signal,omitempty"`
	TimedOut    bool          `cbor:"4,keyasint,omitempty" json:"timed_out,omitempty"`
	Interrupted bool          `cbor:"5,keyasint,omitempty" json:"interrupted,omitempty"` // the guest ended before it did
	Error       string        `cbor:"6,keyasint,omitempty" json:"error,omitempty"`
	Took        time.Duration `cbor:"7,keyasint,omitempty" json:"took,omitempty"`
	Tail        string        `cbor:"8,keyasint,omitempty" json:"tail,omitempty"` // last lines of the output, where it failed
}

// Kind implements Fact.
func (*ProvisionedFact) Kind() Kind { return KindProvisioned }

// OK tells whether the set-up did what it was to do.
func (f ProvisionedFact) OK() bool {
	return f.Status == 0 && f.Signal == 0 && f.Error == "" && !f.TimedOut && !f.Interrupted
}

// What says in words how it went.
func (f ProvisionedFact) What() string {
	switch {
	case f.OK():
		return "done"
	case f.Error != "":
		return f.Error
	case f.Signal != 0:
		return fmt.Sprintf("signal %d ended it", f.Signal)
	}
	return fmt.Sprintf("exit status %d", f.Status)
}

// Provisioned is when a set-up had a result, and which.
type Provisioned struct {
	Time   time.Time       `cbor:"1,keyasint" json:"time"`
	Result ProvisionedFact `cbor:"2,keyasint" json:"result"`
}

// OwesProvision tells whether a machine's set-up has no result yet.
func (m Machine) OwesProvision() bool {
	return m.Spec.Provision != nil && (m.Provisioned == nil || m.Provisioned.Result.Round != m.Spec.Provision.Round)
}

// provisionFailed is what is wrong with a machine whose set-up failed.
func (m Machine) provisionFailed() (why string, failed bool) {
	if m.Provisioned == nil || m.Provisioned.Result.OK() || m.OwesProvision() {
		return "", false
	}
	return "its set-up failed: " + m.Provisioned.Result.What(), true
}

func foldProvisioned(m *Machine, r Record) {
	m.keepWell(func() { m.Provisioned = &Provisioned{Time: r.Time, Result: *r.Fact.(*ProvisionedFact)} })
}

// keepWell changes something that the health of a well machine tells of.
func (m *Machine) keepWell(change func()) {
	well := m.State == Running && m.Health == m.WellHealth()
	change()
	if well {
		m.Health = m.WellHealth()
	}
}
