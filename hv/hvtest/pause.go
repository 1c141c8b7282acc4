package hvtest

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/arcboxlabs/arcbox-engine/hv"
)

// testPause: a guest that was held still goes on where it was; one that is held
// still can be killed.
func testPause(s *suite) {
	vm := s.ready()
	p, ok := vm.(hv.Pauser)
	if ok != s.Driver.Capabilities().Pause {
		s.Fatalf("hv.Pauser %v, Capabilities.Pause %v", ok, s.Driver.Capabilities().Pause)
	}
	if !ok {
		return
	}
	for range 2 {
		s.told(vm, hv.EventPaused, p.Pause, p.Pause)
		s.told(vm, hv.EventResumed, p.Resume, p.Resume)
	}
	s.answers(vm, "a pause")
	s.told(vm, hv.EventPaused, p.Pause)
	if err := vm.Kill(s.ctx()); err != nil {
		s.Fatal(err)
	}
	if exit := s.exit(vm); exit.Cause != hv.ExitKilled {
		s.Errorf("cause %q, want %q", exit.Cause, hv.ExitKilled)
	}
	if err := p.Pause(s.ctx()); !errors.Is(err, hv.ErrGone) {
		s.Errorf("pause of the dead: %v, want hv.ErrGone", err)
	}
}

// answers: the guest lives on behind something.
func (s *suite) answers(vm hv.VM, behind string) {
	s.Helper()
	if s.Echo == 0 {
		return
	}
	c := s.connect(vm)
	_ = c.SetDeadline(time.Now().Add(s.Patience))
	if _, err := c.Write([]byte("x")); err != nil {
		s.Errorf("write after %s: %v", behind, err)
	}
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		s.Errorf("read after %s: %v", behind, err)
	}
}

// told does what has the VM say one event of a kind.
func (s *suite) told(vm hv.VM, want hv.EventKind, deeds ...func(context.Context) error) {
	s.Helper()
	for _, do := range deeds {
		if err := do(s.ctx()); err != nil {
			s.Fatalf("%s: %v", want, err)
		}
	}
	select {
	case e := <-vm.Events():
		if e.Kind != want {
			s.Fatalf("it says %q, want %q", e.Kind, want)
		}
	case <-s.ctx().Done():
		s.Fatalf("it never says %q", want)
	}
}
