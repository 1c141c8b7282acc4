package fsm

import "time"

// Pause is what was asked of a guest: to be held still, or to go on behind that. A
// machine whose guest is held still is Running: its VM is there, and has its memory.
type Pause struct {
	Still     bool      `cbor:"1,keyasint,omitempty" json:"still"`
	Seq       uint64    `cbor:"2,keyasint" json:"seq"` // the record that asked for it
	Principal string    `cbor:"3,keyasint,omitempty" json:"principal,omitempty"`
	Time      time.Time `cbor:"4,keyasint" json:"time"`
	Held      bool      `cbor:"5,keyasint,omitempty" json:"held,omitempty"` // it is held still, as was asked
}

// PauseRequestedFact is the payload of pause-requested. That the guest was held
// still is in the health-changed behind it.
type PauseRequestedFact struct{}

// ResumeRequestedFact is the payload of resume-requested. That the guest went on is
// in the health-changed behind it.
type ResumeRequestedFact struct {
	// Why the engine asks for it: its guest could not be held still. "" = somebody did.
	Why string `cbor:"1,keyasint,omitempty" json:"why,omitempty"`
}

// Kind implements Fact.
func (*PauseRequestedFact) Kind() Kind { return KindPauseRequested }

// Kind implements Fact.
func (*ResumeRequestedFact) Kind() Kind { return KindResumeRequested }

// Paused tells whether somebody wants the machine's guest held still. Pause.Held tells
// whether it is by now.
func (m Machine) Paused() bool {
	return m.Launch != nil && m.Launch.Pause != nil && m.Launch.Pause.Still
}

// owedPause is what has to be done to the guest so that it is as somebody wants it.
func (m Machine) owedPause() (d Duty, owes bool) {
	if m.Launch == nil || m.Launch.Pause == nil {
		return Duty{}, false
	}
	d = Duty{Kind: DutyResume, Seq: m.Launch.Pause.Seq}
	if m.Launch.Pause.Still {
		d.Kind = DutyPause
	}
	return d, true
}

func foldPauseRequested(m *Machine, r Record) {
	m.launch(func(l *Launch) {
		l.Pause, l.Unpaused = &Pause{Still: true, Seq: r.Seq, Principal: r.Principal, Time: r.Time}, ""
	})
}

func foldResumeRequested(m *Machine, r Record) {
	m.resume(r)
	m.launch(func(l *Launch) { l.Unpaused = r.Fact.(*ResumeRequestedFact).Why })
}

func (m *Machine) resume(r Record) {
	m.launch(func(l *Launch) { l.Pause = &Pause{Seq: r.Seq, Principal: r.Principal, Time: r.Time} })
}

// foldHealthChanged: a guest is held still, or goes on again, where its health says so.
// That nothing is known of it is no news.
func foldHealthChanged(m *Machine, r Record) {
	m.Health = r.Fact.(*HealthChangedFact).Health
	if m.Launch == nil || m.Launch.Pause == nil {
		return
	}
	p := *m.Launch.Pause
	switch level := m.Health.Level; {
	case p.Still && level == HealthPaused:
		p.Held = true
		m.launch(func(l *Launch) { l.Pause = &p })
	case !p.Still && level != HealthPaused && level != HealthUnknown:
		m.launch(func(l *Launch) { l.Pause = nil })
	}
}
