package fsm

import (
	"fmt"
	"slices"
	"time"
)

// Machine is the fold of one machine's records: all that is durably known of
// it. It is a value: Apply returns a new one, and what the pointers in it lead
// to is never changed, not by Add either.
type Machine struct {
	ID      string          `cbor:"1,keyasint" json:"id"`
	Name    string          `cbor:"2,keyasint" json:"name"`
	State   State           `cbor:"3,keyasint" json:"state"`
	Desired Desired         `cbor:"4,keyasint" json:"desired"`
	Health  Health          `cbor:"5,keyasint" json:"health"`
	Spec    Spec            `cbor:"6,keyasint" json:"spec"`
	RunTag  string          `cbor:"7,keyasint" json:"run_tag"`
	Made    time.Time       `cbor:"8,keyasint" json:"created"`
	Since   time.Time       `cbor:"9,keyasint" json:"since"`      // when the state was entered
	Seq     uint64          `cbor:"10,keyasint" json:"seq"`       // its last record
	StateAt uint64          `cbor:"11,keyasint" json:"state_seq"` // the record that led to the state
	Launch  *Launch         `cbor:"12,keyasint,omitempty" json:"launch,omitempty"`
	Stop    *Stop           `cbor:"13,keyasint,omitempty" json:"stop,omitempty"`
	Exit    *Exit           `cbor:"14,keyasint,omitempty" json:"exit,omitempty"` // how the last launch ended
	Stray   *StrayFoundFact `cbor:"15,keyasint,omitempty" json:"stray,omitempty"`
	// Damaged: a record of this machine could not be read. Until repaired is
	// appended, its state is what the next readable record said, and it can't
	// be started.
	Damaged bool     `cbor:"16,keyasint,omitempty" json:"damaged,omitempty"`
	Disks   []string `cbor:"17,keyasint,omitempty" json:"disks,omitempty"` // formatted ones
	Dir     bool     `cbor:"18,keyasint,omitempty" json:"dir,omitempty"`   // it was started once, so it has a directory
	Lease   *Lease   `cbor:"40,keyasint,omitempty" json:"lease,omitempty"` // nil = it has no network
	// Provisioned is what became of its set-up, the last time.
	Provisioned *Provisioned `cbor:"60,keyasint,omitempty" json:"provisioned,omitempty"`
	// Renamed is the record that gave it its name; 0 = it was created with it.
	Renamed uint64 `cbor:"70,keyasint,omitempty" json:"renamed,omitempty"`
	// Of is the machine that it is a clone of; nil = of none.
	Of *Origin `cbor:"71,keyasint,omitempty" json:"of,omitempty"`
	// Saved is the guest from which the next start goes on; nil = it boots.
	Saved *Saved `cbor:"80,keyasint,omitempty" json:"saved,omitempty"`
}

// Launch is the launch under way. It is nil where no VM may exist.
type Launch struct {
	ID        string        `cbor:"1,keyasint" json:"id"`
	CID       uint32        `cbor:"2,keyasint" json:"cid"`
	Boot      string        `cbor:"3,keyasint" json:"boot"`
	Reason    Reason        `cbor:"4,keyasint" json:"reason"`
	Principal string        `cbor:"5,keyasint" json:"principal"`
	Seq       uint64        `cbor:"6,keyasint" json:"seq"` // start-requested or relaunched
	Time      time.Time     `cbor:"7,keyasint" json:"time"`
	Allowed   time.Duration `cbor:"8,keyasint" json:"allowed"`
	Attempt   int           `cbor:"9,keyasint,omitempty" json:"attempt,omitempty"`
	Relaunch  int           `cbor:"10,keyasint,omitempty" json:"relaunches,omitempty"`
	Launched  *LaunchedFact `cbor:"11,keyasint,omitempty" json:"launched,omitempty"`
	// LaunchedSeq is the record that said so: launched, or adopted in its place.
	LaunchedSeq uint64     `cbor:"12,keyasint,omitempty" json:"launched_seq,omitempty"`
	Ready       *ReadyFact `cbor:"13,keyasint,omitempty" json:"ready,omitempty"`
	ReadySeq    uint64     `cbor:"14,keyasint,omitempty" json:"ready_seq,omitempty"`
	ReadyTime   time.Time  `cbor:"15,keyasint,omitempty" json:"ready_time,omitzero"`
	Address     string     `cbor:"16,keyasint,omitempty" json:"address,omitempty"`
	Reboots     int        `cbor:"17,keyasint,omitempty" json:"reboots,omitempty"`
	Booted      bool       `cbor:"18,keyasint,omitempty" json:"booted,omitempty"`
	// BootedTime and BootedAfter tell when, and the phases of the boot.
	BootedTime  time.Time   `cbor:"30,keyasint,omitzero" json:"booted_time,omitzero"`
	BootedAfter *BootedFact `cbor:"31,keyasint,omitempty" json:"booted_after,omitempty"`
	// RebootSeq is the last reboot, since which booted is owed again.
	RebootSeq uint64 `cbor:"32,keyasint,omitempty" json:"reboot_seq,omitempty"`
	// Adopted is when an engine last adopted it: at least ten seconds follow
	// before a deadline is held against it.
	Adopted Moment `cbor:"19,keyasint,omitempty" json:"adopted,omitzero"`
	// Relaunched says why the launch replaced another.
	Relaunched string `cbor:"20,keyasint,omitempty" json:"relaunched,omitempty"`
	// Abandoned says why a stop of it was given up, so that it runs on with a
	// shutdown begun.
	Abandoned string `cbor:"21,keyasint,omitempty" json:"abandoned,omitempty"`
	// Spec is what the VM was launched with, where the machine's has changed since.
	Spec *Spec `cbor:"22,keyasint,omitempty" json:"spec,omitempty"`
	// Denials are the first places that its policy kept it from.
	Denials []Denial `cbor:"40,keyasint,omitempty" json:"denials,omitempty"`
	// Pause is what was asked of its guest last; nil = nothing, or it goes on again.
	Pause *Pause `cbor:"50,keyasint,omitempty" json:"pause,omitempty"`
	// Unpaused says why the guest could not be held still when that was asked last.
	Unpaused string `cbor:"51,keyasint,omitempty" json:"unpaused,omitempty"`
	// GoesOn is when the guest was saved from which this launch goes on; zero = it boots.
	GoesOn time.Time `cbor:"60,keyasint,omitzero" json:"goes_on,omitzero"`
	// Unsaved says why the guest could not be saved when that was asked last.
	Unsaved string `cbor:"61,keyasint,omitempty" json:"unsaved,omitempty"`
}

// Stop is the stop under way, or the one that the machine's end answered.
type Stop struct {
	Seq       uint64    `cbor:"1,keyasint" json:"seq"` // stop-requested or the last stop-tightened
	Reason    Reason    `cbor:"2,keyasint" json:"reason"`
	Principal string    `cbor:"3,keyasint" json:"principal"`
	Mode      StopMode  `cbor:"4,keyasint" json:"mode"`
	Deadline  Moment    `cbor:"5,keyasint" json:"deadline"`
	NoKill    bool      `cbor:"6,keyasint,omitempty" json:"no_kill,omitempty"`
	Then      Then      `cbor:"7,keyasint,omitempty" json:"then,omitempty"`
	Was       Desired   `cbor:"8,keyasint" json:"was"` // desired before; stop-abandoned goes back to it
	Time      time.Time `cbor:"9,keyasint" json:"time"`
}

// Exit is how the last launch ended.
type Exit struct {
	Seq    uint64    `cbor:"1,keyasint" json:"seq"`
	Time   time.Time `cbor:"2,keyasint" json:"time"`
	Launch string    `cbor:"3,keyasint,omitempty" json:"launch,omitempty"`
	Cause  Cause     `cbor:"4,keyasint" json:"cause"`
	Status int       `cbor:"5,keyasint,omitempty" json:"status,omitempty"`
	Detail string    `cbor:"6,keyasint,omitempty" json:"detail,omitempty"`
	Tail   string    `cbor:"7,keyasint,omitempty" json:"tail,omitempty"`
	Plan   Plan      `cbor:"8,keyasint" json:"plan"`
	Reason Reason    `cbor:"9,keyasint,omitempty" json:"reason,omitempty"` // of the stop that it answered, if any
	CID    uint32    `cbor:"10,keyasint,omitempty" json:"cid,omitempty"`
}

// CID is the CID that no one else may be given: of a launch, or of a stray.
func (m Machine) CID() uint32 {
	switch {
	case m.Launch != nil:
		return m.Launch.CID
	case m.Stray != nil:
		return m.Stray.CID
	}
	return 0
}

// LaunchSpec is the spec of the launch under way: a change of the machine's counts
// from its next start on, also where the launch is replaced by another.
func (m Machine) LaunchSpec() Spec {
	if m.Launch != nil && m.Launch.Spec != nil {
		return *m.Launch.Spec
	}
	return m.Spec
}

// Apply folds one record in. A record that Table 1 forbids is an ErrIllegal,
// and the machine stays as it was. A damaged machine takes the state that the
// record says.
func (m Machine) Apply(r Record) (Machine, error) {
	err := m.Add(r)
	return m, err
}

// Add is Apply in place, for who has a machine for himself and folds many records
// into it: an Apply leaves as much garbage as a machine is large.
func (m *Machine) Add(r Record) error {
	rule := rules[r.Kind]
	next, err := step(rule.rows, m.State, r.Kind)
	if err != nil {
		if !m.Damaged || (moves(rule.rows) && r.To == None) {
			return fmt.Errorf("machine %s, record %d: %w", r.Machine, r.Seq, err)
		}
		next = m.State
		if moves(rule.rows) {
			next = r.To
		}
	}
	if moves(rule.rows) {
		m.Since, m.StateAt = r.Time, r.Seq
		if m.Damaged {
			m.Name = r.Name
		}
	}
	m.ID, m.State, m.Seq = r.Machine, next, r.Seq
	if rule.fold != nil {
		rule.fold(m, r)
	}
	return nil
}

// rules say all that a kind does, so that every fold of every record looks once.
var rules = func() map[Kind]rule {
	by := map[Kind]rule{}
	for k, rows := range rows {
		by[k] = rule{rows, folds[k]}
	}
	return by
}()

type rule struct {
	rows []Transition
	fold func(*Machine, Record) // nil where only the state changes
}

// folds says what each kind of record changes beside the state.
var folds = map[Kind]func(*Machine, Record){
	KindCreated:        foldCreated,
	KindStartRequested: foldStartRequested,
	KindRelaunched:     foldRelaunched,
	KindLaunched:       foldLaunched,
	KindAdopted:        foldAdopted,
	KindReady:          foldReady,
	KindStopRequested:  foldStopRequested,
	KindStopTightened:  foldStopTightened,
	KindStopAbandoned:  foldStopAbandoned,
	KindExited:         foldExited,
	KindRepaired:       foldRepaired,
	KindRemoved:        func(m *Machine, _ Record) { m.Launch, m.Stray, m.Saved = nil, nil, nil },
	KindBooted:         foldBooted,
	KindRebooted:       foldRebooted,
	KindDesiredChanged: foldDesiredChanged,
	KindSpecChanged:    foldSpecChanged,
	KindDiskFormatted: func(m *Machine, r Record) {
		m.Disks = append(m.Disks[:len(m.Disks):len(m.Disks)], r.Fact.(*DiskFormattedFact).Disk)
	},
	KindAddressChanged: func(m *Machine, r Record) {
		m.launch(func(l *Launch) { l.Address = r.Fact.(*AddressChangedFact).Address })
	},
	KindHealthChanged: foldHealthChanged,
	KindStrayFound:    foldStrayFound,
	KindProvisioned:   foldProvisioned,
	KindRenamed:       func(m *Machine, r Record) { m.Name, m.Renamed = r.Name, r.Seq },
	KindEgressDenied:  foldEgressDenied,

	KindPauseRequested:  foldPauseRequested,
	KindResumeRequested: foldResumeRequested,

	KindStrayGone: func(m *Machine, _ Record) { m.Stray, m.Health = nil, Health{Level: HealthOK} },
}

// launch changes a copy of the launch, so that older values of the machine
// keep theirs.
func (m *Machine) launch(change func(*Launch)) {
	var l Launch
	if m.Launch != nil {
		l = *m.Launch
	}
	change(&l)
	m.Launch = &l
}

func foldCreated(m *Machine, r Record) {
	f := r.Fact.(*CreatedFact)
	m.Name, m.Made, m.Spec, m.RunTag, m.Lease, m.Of = r.Name, r.Time, f.Spec, f.RunTag, f.Lease, f.Of
	m.Desired, m.Health = DesiredStopped, Health{Level: HealthOK}
}

func foldStartRequested(m *Machine, r Record) {
	f := r.Fact.(*StartRequestedFact)
	m.Launch = &Launch{
		ID: r.Launch, CID: r.CID, Boot: f.Boot, Reason: r.Reason, Principal: r.Principal,
		Seq: r.Seq, Time: r.Time, Allowed: f.Allowed, Attempt: f.Attempt,
	}
	if f.Saved && m.Saved != nil {
		m.goOn(m.Launch)
	} else {
		m.Saved = nil
	}
	m.Stop, m.Dir, m.Health = nil, true, Health{Level: HealthOK}
	m.want(r.Reason, DesiredRunning)
}

func foldRelaunched(m *Machine, r Record) {
	f := r.Fact.(*RelaunchedFact)
	m.launch(func(l *Launch) {
		l.ID, l.CID, l.Seq, l.Time = r.Launch, r.CID, r.Seq, r.Time
		l.Launched, l.LaunchedSeq, l.Adopted = nil, 0, Moment{}
		if !f.Taken { // else it is no second try of the guest
			l.Relaunch++
		}
		l.Relaunched = f.Why
		if m.Saved == nil && !l.GoesOn.IsZero() {
			l.beginAnew()
		}
	})
}

func foldLaunched(m *Machine, r Record) {
	m.launch(func(l *Launch) { l.Launched, l.LaunchedSeq = r.Fact.(*LaunchedFact), r.Seq })
	m.goneOn()
}

func foldAdopted(m *Machine, r Record) {
	f := r.Fact.(*AdoptedFact)
	m.launch(func(l *Launch) {
		l.Adopted = f.At
		if l.Launched == nil {
			l.Launched, l.LaunchedSeq = &LaunchedFact{At: f.At, Version: f.Version}, r.Seq
		}
	})
	m.goneOn()
}

func foldReady(m *Machine, r Record) {
	f := r.Fact.(*ReadyFact)
	m.launch(func(l *Launch) { l.Ready, l.ReadySeq, l.ReadyTime, l.Address = f, r.Seq, r.Time, f.Address })
	m.Health = m.WellHealth()
}

// foldBooted tells when and how only of an init that is named: records of the
// first formats name none, and must add up to what they added up to.
func foldBooted(m *Machine, r Record) {
	m.launch(func(l *Launch) {
		l.Booted = true
		if f := r.Fact.(*BootedFact); f.Init != "" {
			l.BootedTime, l.BootedAfter = r.Time, f
		}
	})
}

func foldRebooted(m *Machine, r Record) {
	f := r.Fact.(*RebootedFact)
	m.launch(func(l *Launch) {
		l.Reboots += max(f.Times, 1)
		if f.Anew {
			l.Booted, l.BootedTime, l.BootedAfter, l.RebootSeq = false, time.Time{}, nil, r.Seq
		}
	})
}

func foldStopRequested(m *Machine, r Record) {
	f := r.Fact.(*StopRequestedFact)
	m.Stop = &Stop{
		Seq: r.Seq, Reason: r.Reason, Principal: r.Principal, Mode: f.Mode, Deadline: f.Deadline,
		NoKill: f.NoKill, Then: f.Then, Was: m.Desired, Time: r.Time,
	}
	m.want(r.Reason, wantedAfter(f.Then))
	if f.Mode == StopGraceful && m.Paused() { // a guest that is held still can't shut down
		m.resume(r)
	}
	if f.Mode == StopSave {
		m.launch(func(l *Launch) { l.Unsaved = "" })
	}
}

func foldStopTightened(m *Machine, r Record) {
	f := r.Fact.(*StopTightenedFact)
	s := Stop{Was: m.Desired, Time: r.Time}
	if m.Stop != nil {
		s = *m.Stop
	}
	s.Seq, s.Mode, s.Deadline, s.NoKill, s.Then = r.Seq, f.Mode, f.Deadline, f.NoKill, f.Then
	s.Reason, s.Principal = r.Reason, r.Principal
	m.Stop = &s
	m.want(r.Reason, wantedAfter(f.Then))
}

func foldStopAbandoned(m *Machine, r Record) {
	saving := m.Stop != nil && m.Stop.Mode == StopSave
	if m.Stop != nil {
		m.Desired = m.Stop.Was
	}
	m.Stop = nil
	// A machine that was adopted while it stopped may never have been ready.
	m.launch(func(l *Launch) {
		if l.ReadySeq == 0 {
			l.ReadySeq = r.Seq
		}
		if why := r.Fact.(*StopAbandonedFact).Why; saving { // no shutdown was begun
			l.Unsaved = why
		} else {
			l.Abandoned = why
		}
	})
	if !saving {
		m.Health = m.WellHealth()
	}
}

// WellHealth is the health of a machine whose agent answers.
func (m Machine) WellHealth() Health {
	if m.Launch != nil && m.Launch.Abandoned != "" {
		return Health{HealthDegraded, "a shutdown was begun and not finished: " + m.Launch.Abandoned}
	}
	if why, failed := m.provisionFailed(); failed {
		return Health{HealthDegraded, why}
	}
	return Health{Level: HealthOK}
}

func foldExited(m *Machine, r Record) {
	f := r.Fact.(*ExitedFact)
	if f.Cause == CauseSaved {
		m.save(r)
	}
	m.ended(r, Exit{Cause: f.Cause, Status: f.Status, Detail: f.Detail, Tail: f.Tail, Plan: f.Plan})
}

func foldRepaired(m *Machine, r Record) {
	f := r.Fact.(*RepairedFact)
	m.ended(r, Exit{Cause: f.Cause, Detail: f.Found, Tail: f.Tail, Plan: f.Plan})
	m.Damaged = false
}

func (m *Machine) ended(r Record, e Exit) {
	e.Seq, e.Time, e.Launch = r.Seq, r.Time, r.Launch
	if m.Stop != nil {
		e.Reason = m.Stop.Reason
	}
	if m.Launch != nil {
		e.CID = m.Launch.CID
	}
	m.Exit, m.Launch, m.Health = &e, nil, Health{Level: HealthOK}
}

func foldDesiredChanged(m *Machine, r Record) {
	m.Desired = r.Fact.(*DesiredChangedFact).Desired
	if m.Desired != DesiredStopped {
		return
	}
	// It stops waiting to be started again.
	if m.Exit != nil {
		e := *m.Exit
		e.Plan.Start = false
		m.Exit = &e
	}
	if m.Stop != nil && m.Stop.Then == ThenStart {
		s := *m.Stop
		s.Then = ThenNothing
		m.Stop = &s
	}
}

func foldSpecChanged(m *Machine, r Record) {
	if m.Launch != nil && m.Launch.Spec == nil {
		old := m.Spec
		m.launch(func(l *Launch) { l.Spec = &old })
	}
	f := r.Fact.(*SpecChangedFact)
	if m.Launch != nil && m.Spec.Egress != f.Spec.Egress && m.Launch.Denials != nil {
		m.launch(func(l *Launch) { l.Denials = nil }) // they are of the policy before
	}
	m.keepWell(func() { m.Spec = f.Spec })
	if f.Grown == 0 || m.Launch == nil {
		return
	}
	m.launch(func(l *Launch) {
		has := *l.Spec
		has.Disk = max(has.Disk, f.Grown)
		if l.Spec = &has; has.Equal(m.Spec) {
			l.Spec = nil
		}
	})
}

// OwesGrow tells whether the VM's own disk is smaller than the machine's is to be.
// A disk grows while its VM runs, or else before the next one.
func (m Machine) OwesGrow() bool {
	return m.Launch != nil && m.LaunchSpec().Disk < m.Spec.Disk && slices.Contains(m.Disks, DataDisk)
}

// Unclean tells whether the machine's last launch ended in the middle of what the
// guest did.
func (m Machine) Unclean() bool { return m.Exit != nil && slices.Contains(uncleanEnds, m.Exit.Cause) }

// uncleanEnds are the ends that no guest had prepared for.
var uncleanEnds = []Cause{CauseKilled, CauseCrashed, CauseGuestPanic, CauseAgentTimeout, CauseHostLost}

func foldStrayFound(m *Machine, r Record) {
	m.Stray = r.Fact.(*StrayFoundFact)
	m.Health = Health{HealthDegraded, "a VM runs that should not: " + m.Stray.What}
}

// want changes the desired state where the reason may.
func (m *Machine) want(r Reason, d Desired) {
	switch r {
	case ReasonPerson, ReasonRestart, ReasonRemove:
		m.Desired = d
	case ReasonEngineStop, ReasonHostShutdown, ReasonPolicy:
	}
}

func wantedAfter(t Then) Desired {
	if t == ThenStart {
		return DesiredRunning
	}
	return DesiredStopped
}
