package hvtest

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/arcboxlabs/arcbox-engine/hv"
)

// Subject is a driver with what the suite must know to run it.
type Subject struct {
	Driver hv.Driver
	// Spec is of a VM that boots, stays, and obeys the power button.
	Spec func(t *testing.T) hv.Spec
	// Failing is of a VM whose start fails.
	Failing func(t *testing.T) hv.Spec
	// Lock makes a locked lock file; nil = an empty file.
	Lock func(t *testing.T) *os.File
	// Ready waits until the guest listens and obeys; nil = at once.
	Ready func(ctx context.Context, vm hv.VM) error
	// Echo is a port of the guest that echoes; 0 = none.
	Echo uint32
	// Boot is what a guest has until it boots anew, e.g. its boot id; nil = it can't tell.
	Boot func(ctx context.Context, vm hv.VM) (string, error)
	// Saving is done beside each Save that succeeds; nil = nothing.
	Saving func(ctx context.Context, vm hv.VM)
	// Closed is a port of the guest on which nobody listens.
	Closed uint32
	// GuestDial has the guest dial a port of the host; nil = it can't be told to.
	GuestDial func(vm hv.VM, port uint32) (net.Conn, error)
	// Left reports what a VM that is gone left behind, as t.Error; nil = nothing to see.
	Left func(t *testing.T)
	// Patience bounds each wait; 0 = 10 s.
	Patience time.Duration
}

// Run runs the suite. subject is called once for each test of it.
func Run(t *testing.T, subject func(t *testing.T) Subject) {
	for _, test := range []struct {
		name string
		run  func(*suite)
	}{
		{"start with a context that is over", testStartOver},
		{"start that fails", testStartFails},
		{"kill", testKill},
		{"kill with nobody reading", testKillUnread},
		{"power button", testPowerButton},
		{"capabilities", testCapabilities},
		{"grow a disk", testGrow},
		{"pause", testPause},
		{"save", testSave},
		{"shares", testShares},
		{"dial", testDial},
		{"connections end with the VM", testConnectionsEnd},
		{"listen", testListen},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := &suite{T: t, Subject: subject(t)}
			if s.Patience == 0 {
				s.Patience = 10 * time.Second
			}
			if s.Left != nil {
				t.Cleanup(func() { s.Left(t) })
			}
			test.run(s)
		})
	}
}

type suite struct {
	*testing.T
	Subject
}

func (s *suite) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), s.Patience)
	s.Cleanup(cancel)
	return ctx
}

// sink is a console that forgets.
type sink struct{}

func (sink) Write(p []byte) (int, error) { return len(p), nil }

func (s *suite) env() hv.Env {
	s.Helper()
	var lock *os.File
	if s.Lock != nil {
		lock = s.Lock(s.T)
	} else {
		f, err := os.Create(filepath.Join(s.TempDir(), "lock"))
		if err != nil {
			s.Fatal(err)
		}
		s.Cleanup(func() { _ = f.Close() })
		lock = f
	}
	return hv.Env{Lock: lock, Fork: os.StartProcess, Console: sink{}, AgentLog: sink{}, Logf: func(string, ...any) {}}
}

// start runs a VM that is killed and read to its end after the test.
func (s *suite) start() hv.VM {
	s.Helper()
	return s.startOf(s.Spec(s.T))
}

func (s *suite) startOf(spec hv.Spec) hv.VM {
	s.Helper()
	vm, err := s.Driver.Start(s.ctx(), spec, s.env())
	if err != nil {
		s.Fatalf("start: %v", err)
	}
	s.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), s.Patience)
		defer cancel()
		if err := vm.Kill(ctx); err != nil && !errors.Is(err, hv.ErrGone) {
			s.Errorf("kill: %v", err)
		}
		for range vm.Events() { //nolint:revive // read to the end
		}
	})
	return vm
}

// ready is start, and a guest that listens.
func (s *suite) ready() hv.VM {
	s.Helper()
	return s.readyOf(s.Spec(s.T))
}

func (s *suite) readyOf(spec hv.Spec) hv.VM {
	s.Helper()
	vm := s.startOf(spec)
	if s.Ready != nil {
		if err := s.Ready(s.ctx(), vm); err != nil {
			s.Fatalf("the guest did not get ready: %v", err)
		}
	}
	return vm
}

// exit reads the events to their end and checks that exit is there once, last.
func (s *suite) exit(vm hv.VM) hv.Exit {
	s.Helper()
	limit := time.NewTimer(s.Patience)
	defer limit.Stop()
	var exit *hv.Exit
	for {
		select {
		case e, ok := <-vm.Events():
			switch {
			case !ok && exit == nil:
				s.Fatal("events ended without an exit")
			case !ok:
				return *exit
			case exit != nil:
				s.Fatalf("%s after the exit", e.Kind)
			case (e.Kind == hv.EventExit) != (e.Exit != nil), e.Time.IsZero():
				s.Fatalf("malformed event %+v", e)
			}
			exit = e.Exit
		case <-limit.C:
			s.Fatal("no exit")
		}
	}
}

func testStartOver(s *suite) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	vm, err := s.Driver.Start(ctx, s.Spec(s.T), s.env())
	if err == nil {
		_ = vm.Kill(s.ctx())
		s.Fatal("start with a context that is over started a VM")
	}
	if !errors.Is(err, context.Canceled) {
		s.Errorf("error is not context.Canceled: %v", err)
	}
}

func testStartFails(s *suite) {
	vm, err := s.Driver.Start(s.ctx(), s.Failing(s.T), s.env())
	if err == nil {
		_ = vm.Kill(s.ctx())
		s.Fatal("it started")
	}
}

func testKill(s *suite) {
	vm := s.start()
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if err := vm.Kill(s.ctx()); err != nil && !errors.Is(err, hv.ErrGone) {
				s.Errorf("kill: %v", err)
			}
		})
	}
	if exit := s.exit(vm); exit.Cause != hv.ExitKilled {
		s.Errorf("cause %q, want %q", exit.Cause, hv.ExitKilled)
	}
	all.Wait()
	if err := vm.Kill(s.ctx()); err != nil && !errors.Is(err, hv.ErrGone) {
		s.Errorf("kill of the dead: %v", err)
	}
	if s.Driver.Capabilities().PowerButton {
		if err := vm.PowerButton(s.ctx()); !errors.Is(err, hv.ErrGone) {
			s.Errorf("power button of the dead: %v, want hv.ErrGone", err)
		}
	}
	if _, err := vm.Dial(s.ctx(), s.Closed); !errors.Is(err, hv.ErrGone) {
		s.Errorf("dial of the dead: %v, want hv.ErrGone", err)
	}
}

// testKillUnread: a kill does not wait for the reader of the events.
func testKillUnread(s *suite) {
	vm := s.start()
	if err := vm.Kill(s.ctx()); err != nil {
		s.Fatal(err)
	}
	if exit := s.exit(vm); exit.Cause != hv.ExitKilled {
		s.Errorf("cause %q", exit.Cause)
	}
}

func testPowerButton(s *suite) {
	vm := s.ready()
	err := vm.PowerButton(s.ctx())
	if !s.Driver.Capabilities().PowerButton {
		if !errors.Is(err, hv.ErrUnsupported) {
			s.Errorf("power button: %v, want hv.ErrUnsupported", err)
		}
		return
	}
	if err != nil {
		s.Fatalf("power button: %v", err)
	}
	if exit := s.exit(vm); exit.Cause != hv.ExitPoweredOff {
		s.Errorf("cause %q, want %q", exit.Cause, hv.ExitPoweredOff)
	}
}

func testCapabilities(s *suite) {
	if s.Driver.Name() == "" {
		s.Error("a driver without a name")
	}
	vm := s.start()
	r, ok := vm.(hv.Rebooter)
	if ok != s.Driver.Capabilities().Reboot {
		s.Fatalf("hv.Rebooter %v, Capabilities.Reboot %v", ok, s.Driver.Capabilities().Reboot)
	}
	if ok {
		if err := r.AllowReboot(s.ctx()); err != nil {
			s.Errorf("allow reboot: %v", err)
		}
	}
}

// refused checks a dial of a port where nobody listens.
func (s *suite) refused(vm hv.VM) {
	s.Helper()
	if c, err := vm.Dial(s.ctx(), s.Closed); !errors.Is(err, syscall.ECONNREFUSED) {
		if err == nil {
			_ = c.Close()
		}
		s.Errorf("dial of a closed port: %v, want ECONNREFUSED", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if c, err := vm.Dial(ctx, s.Closed); err == nil {
		_ = c.Close()
		s.Error("dial with a context that is over connected")
	}
}
