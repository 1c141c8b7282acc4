package actors

import (
	"context"
	"time"

	"github.com/arcboxlabs/arcbox-engine/fsm"
)

// What a guest, or a host that comes and goes, may have its machine write: a
// burst, and one record an interval from then on. The journal keeps all that
// is written in it, so that a guest in a reboot loop would fill the disk.
const (
	paceBurst = 32
	paceEvery = 30 * time.Second
)

// pace holds back what comes too fast. Nothing of it is lost: reboots are
// counted, and of the health the last word stands.
type pace struct {
	spent   int // of the burst
	since   fsm.Moment
	reboots int         // that no record tells of yet
	health  *fsm.Health // that no record tells of yet
}

// take tells whether a record may be written now.
func (p *pace) take(now fsm.Moment) bool {
	if p.spent == 0 || p.since.Boot != now.Boot {
		p.spent, p.since = 0, now
	}
	if back := int(-p.since.Until(now) / paceEvery); back > 0 {
		p.spent = max(p.spent-back, 0)
		p.since = p.since.Add(time.Duration(back) * paceEvery)
	}
	if p.spent >= paceBurst {
		return false
	}
	p.spent++
	return true
}

// moved forgets what waits and is true no longer.
func (p *pace) moved(r fsm.Record) {
	if fsm.Moves(r.Kind) && r.To != fsm.Stopping {
		p.health = nil
	}
	if fsm.Moves(r.Kind) && !r.To.Live() {
		p.reboots = 0
	}
	if r.Kind == fsm.KindPauseRequested || r.Kind == fsm.KindResumeRequested {
		p.health = nil
	}
}

// latest is the health as it is, though no record may tell of it yet.
func (m *machine) latest() fsm.Health {
	if m.pace.health != nil {
		return *m.pace.health
	}
	return m.state().Health
}

// health records a change of health, once. Of a guest that is held still, or is to go
// on, only its worker says how it is: what any other says would be taken for that.
func (m *machine) health(l fsm.HealthLevel, why string) {
	if s := m.state().Launch; s != nil && s.Pause != nil && l != fsm.HealthUnknown {
		return
	}
	h := fsm.Health{Level: l, Why: why}
	if same(m.latest(), h) {
		return
	}
	m.pace.health = nil
	if same(m.state().Health, h) || !fsm.May(m.state().State, fsm.KindHealthChanged) {
		return
	}
	m.pace.health = &h
	m.tell()
}

func same(old, h fsm.Health) bool {
	return old.Level == h.Level && (old.Why == h.Why || h.Level == fsm.HealthUnknown)
}

// rebooted records that the guest rebooted.
func (m *machine) rebooted() {
	if !fsm.May(m.state().State, fsm.KindRebooted) {
		m.Log.Warn("rebooted", "machine", m.ref.Name, "state", m.state().State)
		return
	}
	m.pace.reboots++
	m.tell()
	m.health(fsm.HealthDegraded, rebooting)
}

// tell writes what waits to be written, or has it wait for its time.
func (m *machine) tell() {
	if m.pace.reboots == 0 && m.pace.health == nil {
		return
	}
	if m.pace.take(m.Clock.Moment()) {
		m.observed(m.untold()...)
		return
	}
	s, left := m.shared, m.pace.since.Add(paceEvery).Until(m.Clock.Moment())
	m.runOdd("tell", func(ctx context.Context, _ func(any)) any {
		sleep(ctx, s.Clock, left)
		return untold{}
	})
}

// untold is the result of the wait.
type untold struct{}

// untold takes the records that wait.
func (m *machine) untold() (recs []fsm.Record) {
	if m.pace.reboots > 0 && fsm.May(m.state().State, fsm.KindRebooted) {
		f := &fsm.RebootedFact{Anew: true}
		if m.pace.reboots > 1 {
			f.Times = m.pace.reboots
		}
		recs = append(recs, fsm.Record{Fact: f})
	}
	if m.pace.health != nil && fsm.May(m.state().State, fsm.KindHealthChanged) {
		recs = append(recs, fsm.Record{Fact: &fsm.HealthChangedFact{Health: *m.pace.health}})
	}
	m.pace.reboots, m.pace.health = 0, nil
	return recs
}

// untoldReboots are what the record of a launch's end brings along.
func (m *machine) untoldReboots() []fsm.Record {
	m.pace.health = nil
	return m.untold()
}
