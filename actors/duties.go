package actors

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/arcboxlabs/arcbox-engine/fsm"
)

// reconcile makes what is owed and what is being done the same: it starts the
// workers of duties newly owed, and cancels those of duties owed no longer.
func (m *machine) reconcile() {
	if m.unseen {
		return
	}
	m.watchOwner()
	owed := fsm.Owed(m.state())
	for d, w := range m.work {
		if contains(owed, d) {
			continue
		}
		if w.over {
			delete(m.work, d)
		} else if !w.called {
			w.stop()
		}
	}
	if m.launching() || m.moving != "" {
		return // whatever else is owed needs to know how the launch ended
	}
	for _, d := range owed {
		if m.work[d] == nil && !(d.Kind == fsm.DutyStart && m.spoken()) && !m.turning(d) {
			begins[d.Kind](m, d)
		}
	}
}

// spoken tells whether somebody starts or removes the machine already, so that
// a start that is owed has to wait.
func (m *machine) spoken() bool { return m.start != nil || m.removing() }

func contains(ds []fsm.Duty, d fsm.Duty) bool {
	for _, o := range ds {
		if o == d {
			return true
		}
	}
	return false
}

// launching tells whether a launch worker runs, cancelled or not.
func (m *machine) launching() bool {
	for d, w := range m.work {
		if d.Kind == fsm.DutyLaunch && !w.over {
			return true
		}
	}
	return false
}

// begins says how each duty is begun.
var begins map[fsm.DutyKind]func(*machine, fsm.Duty)

func init() {
	begins = map[fsm.DutyKind]func(*machine, fsm.Duty){
		fsm.DutyLaunch:  (*machine).beginLaunch,
		fsm.DutyWatch:   (*machine).beginWatch,
		fsm.DutyReady:   (*machine).beginReady,
		fsm.DutyMonitor: (*machine).beginMonitor,
		fsm.DutyBooted:  (*machine).beginBooted,

		fsm.DutyGrow:      (*machine).beginGrow,
		fsm.DutyProvision: (*machine).beginProvision,
		fsm.DutyPause:     (*machine).beginPause,
		fsm.DutyResume:    (*machine).beginResume,
		fsm.DutyStop:      (*machine).beginStop,
		fsm.DutyStart:     (*machine).beginStart,
		fsm.DutyRemove:    (*machine).beginRemove,
		fsm.DutyClean:     (*machine).beginClean,
		fsm.DutyStray:     (*machine).beginStray,
	}
}

// Results of workers.
type (
	launched struct {
		fact fsm.LaunchedFact
		lock Lock // where it failed
		err  error
	}
	// gone: the VM has ended; the lock is ours.
	gone struct {
		lock Lock
		exit *VMExit // nil: nobody saw how
		tail string
	}
	// usurped: another launch answers where ours should.
	usurped struct{ sight Sight }
	ready   struct {
		fact   fsm.ReadyFact
		shares sharesKnown
	}
	booted struct{ fact fsm.BootedFact }
	// late: the agent did not answer in time; half of it, where the launch may
	// yet be replaced. early: it can't be talked to, and no time will help.
	late struct {
		half, early bool
		err         error
	}
	stopLate struct{}
	prepared struct {
		lock Lock
		made []fsm.DiskFormattedFact
		err  error
	}
	deleted struct{ err error }
	looked  struct {
		sight Sight
		err   error
	}
)

// What workers say before they are done.
type (
	vmSaid struct {
		event VMEvent
		why   string
	}
	mute     struct{ why string }
	checked  struct{ err error }
	shutdown struct{ err error }
)

func (m *machine) beginLaunch(d fsm.Duty) {
	s, ref, lock := m.shared, m.ref, m.lock
	m.lock = nil
	l := m.state().Launch
	o := Order{Launch: l.ID, CID: l.CID, Spec: m.state().LaunchSpec(), Of: m.state().Of, Saved: m.state().GoesOn()}
	o.Seed = m.state().OwesProvision() && o.Spec.Provision.Kind == fsm.ProvisionUserData
	m.run(d, func(ctx context.Context, _ func(any)) any {
		select {
		case s.launches <- struct{}{}:
			defer func() { <-s.launches }()
		case <-ctx.Done():
			return launched{lock: lock, err: context.Cause(ctx)}
		}
		limited, cancel := within(ctx, s.Clock, launchTime)
		defer cancel()
		fact, back, err := s.Hosts.Launch(limited, ref, lock, o)
		if err != nil && limited.Err() != nil && ctx.Err() == nil {
			err = fmt.Errorf("its VM host did not come up within %s", launchTime)
		}
		if err != nil && back == nil {
			back = s.regain(s.life, ref)
		}
		fact.At = s.Clock.Moment()
		return launched{fact, back, err}
	})
}

// regain takes a machine's lock from whoever holds it, however long it takes;
// nil where ctx is over first.
func (s *shared) regain(ctx context.Context, ref Ref) Lock {
	for ctx.Err() == nil {
		limited, cancel := within(ctx, s.Clock, lookTime)
		sight, err := s.Hosts.Look(limited, ref, "")
		cancel()
		if err == nil && sight.Lock != nil {
			return sight.Lock
		}
		limited, cancel = within(ctx, s.Clock, lookTime)
		if err := s.Hosts.Kill(limited, ref); err != nil {
			s.Log.Warn("kill", "machine", ref.Name, "err", err)
		}
		cancel()
		sleep(ctx, s.Clock, lookAgain)
	}
	return nil
}

func (m *machine) beginWatch(d fsm.Duty) {
	s, ref, launch, free := m.shared, m.ref, m.state().Launch.ID, m.free
	m.run(d, func(ctx context.Context, say func(any)) any {
		end := s.watch(ctx, ref, launch, say)
		if g, ok := end.(gone); ok && g.lock != nil {
			free.over()
		}
		return end
	})
}

// watch follows a launch to its end. It alone takes the lock back.
func (s *shared) watch(ctx context.Context, ref Ref, launch string, say func(any)) any {
	for ctx.Err() == nil {
		err := s.Hosts.Watch(ctx, ref, launch, func(e VMEvent, why string) { say(vmSaid{e, why}) })
		if ctx.Err() != nil {
			break
		}
		limited, cancel := within(ctx, s.Clock, lookTime)
		sight, lookErr := s.Hosts.Look(limited, ref, launch)
		cancel()
		switch {
		case lookErr != nil:
			say(mute{lookErr.Error()})
		case sight.Lock != nil:
			g := gone{lock: sight.Lock, exit: sight.Exit}
			g.tail = s.Dirs.Tail(ref)
			return g
		case sight.Found == fsm.HeldByOther:
			return usurped{sight}
		case sight.Found == fsm.HeldMute && err != nil:
			say(mute{"its VM host does not answer: " + err.Error()})
		}
		sleep(ctx, s.Clock, lookAgain/4)
	}
	return nil
}

// quiet ends need no console to be understood.
func quiet(c fsm.Cause) bool {
	return c == fsm.CauseStopped || c == fsm.CausePoweredOff || c == fsm.CauseKilled || c == fsm.CauseSaved
}

func (m *machine) beginReady(d fsm.Duty) {
	s, ref, l := m.shared, m.ref, m.state().Launch
	allowed := l.Allowed
	if l.Relaunch > 0 {
		allowed /= 2 // the other half went to the launch that hung
	}
	spec := m.state().LaunchSpec()
	left := m.until(l.Launched.At.Add(allowed))
	half := time.Duration(0)
	if l.Relaunch == 0 && l.Adopted.IsZero() {
		half = left - l.Allowed/2
	}
	m.run(d, func(ctx context.Context, _ func(any)) any {
		wait := left
		if half > 0 {
			wait = half
		}
		limited, cancel := within(ctx, s.Clock, wait)
		defer cancel()
		fact, err := s.Guests.Ready(limited, ref)
		if err == nil {
			if !l.GoesOn.IsZero() {
				s.setClock(ctx, ref)
			}
			known := s.knowShares(limited, ref, l.ID, spec)
			fact.At = s.Clock.Moment()
			return ready{fact, known}
		}
		early := limited.Err() == nil
		return late{half: half > 0 && !early, early: early, err: err}
	})
}

func (m *machine) beginMonitor(d fsm.Duty) {
	s, ref, pause, misses := m.shared, m.ref, checkEvery, 0
	if m.latest().Level != fsm.HealthOK {
		pause = checkAgain
	}
	m.run(d, func(ctx context.Context, say func(any)) any {
		limited, cancel := within(ctx, s.Clock, checkTime)
		if err := s.Guests.Arm(limited, ref); err != nil && ctx.Err() == nil {
			s.Log.Warn("arm", "machine", ref.Name, "err", err)
		}
		cancel()
		for sleep(ctx, s.Clock, pause) {
			limited, cancel := within(ctx, s.Clock, checkTime)
			err := s.Guests.Check(limited, ref)
			cancel()
			if ctx.Err() != nil {
				break
			}
			pause, misses = checkEvery, misses+1
			if err == nil {
				misses = 0
			} else {
				pause = checkAgain
			}
			if misses != 1 { // one miss says nothing
				say(checked{err})
			}
		}
		return nil
	})
}

// beginBooted waits for the init, however long it takes: no deadline is held
// against it.
func (m *machine) beginBooted(d fsm.Duty) {
	s, ref := m.shared, m.ref
	m.run(d, func(ctx context.Context, _ func(any)) any {
		for ctx.Err() == nil {
			fact, err := s.Booted(ctx, ref)
			if err == nil {
				return booted{fact}
			}
			if errors.Is(err, ErrNeverTold) {
				s.Log.Warn("booted", "machine", ref.Name, "err", err)
				return nil
			}
			s.Log.Debug("booted", "machine", ref.Name, "err", err)
			sleep(ctx, s.Clock, checkAgain)
		}
		return nil
	})
}

func (m *machine) beginStop(d fsm.Duty) {
	stop := *m.state().Stop
	switch stop.Mode {
	case fsm.StopKill:
		m.kill()
		return
	case fsm.StopSave:
		m.beginSave(d, stop.Deadline)
		return
	case fsm.StopGraceful:
	}
	s, ref, left := m.shared, m.ref, m.until(stop.Deadline)
	m.run(d, func(ctx context.Context, say func(any)) any {
		limited, cancel := within(ctx, s.Clock, left)
		defer cancel()
		err := s.Guests.Shutdown(limited, ref)
		if ctx.Err() == nil {
			say(shutdown{err})
		}
		<-limited.Done()
		if ctx.Err() == nil {
			return stopLate{}
		}
		return nil
	})
}

// freed tells the worker that kills a VM that another one has its lock, before the actor
// hears of it, which may wait for the disk: whoever holds the lock from then on is the
// engine itself.
type freed struct {
	ctx  context.Context
	over context.CancelFunc
}

func newFreed() *freed {
	ctx, over := context.WithCancel(context.Background())
	return &freed{ctx, over}
}

// kill ends the VM, again and again until the watch sees it gone.
func (m *machine) kill() {
	s, ref, free := m.shared, m.ref, m.free
	m.runOdd("kill", func(ctx context.Context, _ func(any)) any {
		ctx, stop := context.WithCancel(ctx)
		defer stop()
		defer context.AfterFunc(free.ctx, stop)()
		for ctx.Err() == nil {
			limited, cancel := within(ctx, s.Clock, lookTime)
			if err := s.Hosts.Kill(limited, ref); err != nil && ctx.Err() == nil {
				s.Log.Warn("kill", "machine", ref.Name, "err", err)
			}
			cancel()
			sleep(ctx, s.Clock, killEvery)
		}
		return nil
	})
}

func (m *machine) beginStart(d fsm.Duty) {
	wait := time.Duration(0)
	if !d.NotBefore.IsZero() {
		wait = min(max(d.NotBefore.Sub(m.Clock.Now()), 0), 2*fsm.BackoffMost)
	}
	s := m.shared
	m.run(d, func(ctx context.Context, _ func(any)) any {
		sleep(ctx, s.Clock, wait)
		return nil
	})
}

func (m *machine) beginRemove(d fsm.Duty) {
	s, ref := m.shared, m.ref
	m.run(d, func(ctx context.Context, _ func(any)) any {
		return prepared{lock: s.regain(ctx, ref)}
	})
}

// freeLock waits until a machine's lock is free, and takes it.
func (s *shared) freeLock(ctx context.Context, ref Ref) Lock {
	for ctx.Err() == nil {
		limited, cancel := within(ctx, s.Clock, lookTime)
		sight, err := s.Hosts.Look(limited, ref, "")
		cancel()
		if err == nil && sight.Lock != nil {
			return sight.Lock
		}
		sleep(ctx, s.Clock, lookAgain)
	}
	return nil
}

func (m *machine) beginClean(d fsm.Duty) {
	s, ref, lock := m.shared, m.ref, m.lock
	m.lock = nil
	m.run(d, func(ctx context.Context, _ func(any)) any {
		if lock == nil {
			lock = s.regain(ctx, ref)
		}
		return deleted{s.Dirs.Delete(ctx, ref, lock)}
	})
}

// beginStray waits until a VM that should not run has ended.
func (m *machine) beginStray(d fsm.Duty) {
	s, ref := m.shared, m.ref
	if m.killStray != nil || m.removing() {
		m.kill()
	}
	free := m.free
	m.run(d, func(ctx context.Context, _ func(any)) any {
		g := gone{lock: s.freeLock(ctx, ref)}
		if g.lock != nil {
			free.over()
		}
		return g
	})
}

// removing tells whether a removal is under way, so that nothing of the
// machine may live on.
func (m *machine) removing() bool {
	if w := m.odd["remove"]; w != nil && !w.called {
		return true
	}
	s := m.state().Stop
	return s != nil && s.Then == fsm.ThenRemove
}
