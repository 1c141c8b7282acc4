package fsm

import "time"

// Saved is a guest that was written to a file in its machine's directory: the next start
// goes on from it, once, or throws it away.
type Saved struct {
	Time time.Time `cbor:"1,keyasint" json:"time"`
	Spec Spec      `cbor:"2,keyasint" json:"spec"` // what its VM was launched with
	// What was known of its boot.
	Booted      bool        `cbor:"3,keyasint,omitempty" json:"booted,omitempty"`
	BootedTime  time.Time   `cbor:"4,keyasint,omitzero" json:"booted_time,omitzero"`
	BootedAfter *BootedFact `cbor:"5,keyasint,omitempty" json:"booted_after,omitempty"`
	Reboots     int         `cbor:"6,keyasint,omitempty" json:"reboots,omitempty"`
}

// StartSpec is what the next start launches a VM with: a guest that was saved goes on as
// it was.
func (m Machine) StartSpec() Spec {
	if m.Saved != nil {
		return m.Saved.Spec
	}
	return m.Spec
}

// GoesOn tells whether the launch under way is to go on from a guest that was saved, and
// has not yet: once it has, there is no way back to it.
func (m Machine) GoesOn() bool {
	return m.Launch != nil && !m.Launch.GoesOn.IsZero() && m.Saved != nil
}

// save keeps what the next start needs of a guest that was saved.
func (m *Machine) save(r Record) {
	m.Saved = &Saved{Time: r.Time, Spec: m.LaunchSpec()}
	if l := m.Launch; l != nil {
		m.Saved.Booted, m.Saved.BootedTime, m.Saved.BootedAfter, m.Saved.Reboots = l.Booted, l.BootedTime, l.BootedAfter, l.Reboots
	}
}

// goOn makes a new launch the rest of the one that was saved.
func (m *Machine) goOn(l *Launch) {
	s := m.Saved
	l.GoesOn, l.Booted, l.BootedTime, l.BootedAfter, l.Reboots = s.Time, s.Booted, s.BootedTime, s.BootedAfter, s.Reboots
	if !s.Spec.Equal(m.Spec) {
		spec := s.Spec
		l.Spec = &spec
	}
}

// goneOn: the guest went on, and what it was saved to is no more.
func (m *Machine) goneOn() {
	if m.GoesOn() {
		m.Saved = nil
	}
}

// beginAnew: the launch that went on from a guest is replaced by one that boots.
func (l *Launch) beginAnew() {
	l.GoesOn, l.Booted, l.BootedTime, l.BootedAfter = time.Time{}, false, time.Time{}, nil
}
