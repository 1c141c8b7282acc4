package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/term"

	guestwire "github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// desk is a terminal that arcbox is called from.
type desk struct {
	*bench
	keys   *os.File // the terminal's other side
	tty    *os.File
	before term.State
	seen   bytes.Buffer
	shut   func()
}

func newDesk(t *testing.T, e engine) *desk {
	t.Helper()
	keys, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	if err := pty.Setsize(tty, &pty.Winsize{Rows: 33, Cols: 77}); err != nil {
		t.Fatal(err)
	}
	d := &desk{bench: newBench(t, e), keys: keys, tty: tty}
	d.stdin, d.stdout = tty, tty
	d.before = d.modes(t)
	var reading sync.WaitGroup
	reading.Go(func() { _, _ = io.Copy(&d.seen, keys) }) // until the terminal is closed
	d.shut = sync.OnceFunc(func() {
		_, _ = keys.WriteString("\n") // ends a read that arcbox left behind, and is echoed
		tty.Close()
		reading.Wait()
		keys.Close()
	})
	t.Cleanup(d.shut)
	return d
}

func (d *desk) modes(t *testing.T) term.State {
	t.Helper()
	s, err := term.GetState(int(d.tty.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	return *s
}

// restored checks that the terminal is as it was.
func (d *desk) restored(t *testing.T) {
	t.Helper()
	if d.modes(t) != d.before {
		t.Error("the terminal was not put back as it was")
	}
}

// TestExecTerminal: every key goes to the guest, the sizes too, and at the end
// the terminal is as it was.
func TestExecTerminal(t *testing.T) {
	var d *desk
	d = newDesk(t, withAgent(t, &fakeAgent{exec: func(s execStream) error {
		m, err := s.Recv()
		if err != nil {
			return err
		}
		if start := m.GetStart(); start.GetTerminal().GetRows() != 33 || start.GetTerminal().GetColumns() != 77 || start.GetEnv()["TERM"] != "tmux" {
			t.Errorf("started with %v", start)
		}
		if d.modes(t) == d.before {
			t.Error("the terminal is not in raw mode")
		}
		if _, err := d.keys.WriteString("a\x03\x04\r"); err != nil {
			return err
		}
		if err := pty.Setsize(d.tty, &pty.Winsize{Rows: 1, Cols: 2}); err != nil {
			return err
		}
		d.sent <- syscall.SIGWINCH
		var typed []byte
		var size *guestwire.TerminalSize
		for len(typed) < 4 || size == nil {
			if m, err = s.Recv(); err != nil {
				return err
			}
			typed = append(typed, m.GetStdin()...)
			if m.GetResize() != nil {
				size = m.GetResize()
			}
		}
		if string(typed) != "a\x03\x04\r" || size.GetRows() != 1 || size.GetColumns() != 2 {
			t.Errorf("typed %q, resized to %v", typed, size)
		}
		if err := s.Send(&guestwire.ExecReply{Msg: &guestwire.ExecReply_Stdout{Stdout: []byte("\x1b[1mbold\r\n")}}); err != nil {
			return err
		}
		return s.Send(&guestwire.ExecReply{Msg: &guestwire.ExecReply_Done{Done: &guestwire.ExecDone{Status: 3}}})
	}}))
	env := d.env
	d.env = func(name string) string {
		if name == "TERM" {
			return "tmux"
		}
		return env(name)
	}
	if code := d.run(t, "exec", "-it", "web", "top"); code != 3 {
		t.Errorf("exit %d: %s", code, d.err.String())
	}
	d.restored(t)
	d.shut()
	if d.seen.String() != "\x1b[1mbold\r\n\r\n" {
		t.Errorf("the terminal shows %q", d.seen.String())
	}
}

// TestExecTerminalIsRestored by whatever ends a program.
func TestExecTerminalIsRestored(t *testing.T) {
	wait := func(s execStream) error {
		<-s.Context().Done()
		return s.Context().Err()
	}
	for name, test := range map[string]struct {
		exec func(*desk) func(execStream) error
		code int
	}{
		"fault of the agent": {func(*desk) func(execStream) error {
			return func(execStream) error { return errors.New("no") }
		}, exitExecFault},
		"not run": {func(*desk) func(execStream) error {
			return ends(&guestwire.ExecDone{Error: "no such file", ErrorStatus: 127}).exec
		}, 127},
		"three interrupts": {func(d *desk) func(execStream) error {
			return func(s execStream) error {
				d.sent <- os.Interrupt
				d.sent <- os.Interrupt
				d.sent <- os.Interrupt
				return wait(s)
			}
		}, exitInterrupted},
		"TERM": {func(d *desk) func(execStream) error {
			return func(s execStream) error { d.sent <- syscall.SIGTERM; return wait(s) }
		}, 143},
		"HUP": {func(d *desk) func(execStream) error {
			return func(s execStream) error { d.sent <- syscall.SIGHUP; return wait(s) }
		}, 129},
	} {
		t.Run(name, func(t *testing.T) {
			agent := &fakeAgent{}
			d := newDesk(t, withAgent(t, agent))
			agent.exec = test.exec(d)
			if code := d.run(t, "exec", "-t", "web", "sh"); code != test.code {
				t.Errorf("exit %d, want %d: %s", code, test.code, d.err.String())
			}
			d.restored(t)
		})
	}
}

func TestTerminalIsRestoredByAPanic(t *testing.T) {
	d := newDesk(t, nil)
	term, err := d.terminal()
	if err != nil {
		t.Fatal(err)
	}
	if err := term.raw(); err != nil {
		t.Fatal(err)
	}
	if d.modes(t) == d.before {
		t.Error("the terminal is not in raw mode")
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		defer term.guard()
		panic("a fault")
	}()
	d.restored(t)
}

// TestLeaving: a program that passes over TERM keeps arcbox for a moment only.
func TestLeaving(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	caught := make(chan os.Signal, 1)
	r := &relay{caught: caught, out: make(chan os.Signal, 8), attached: make(chan struct{}), cancel: cancel, now: time.Now, terminal: &terminal{}, leave: time.Millisecond}
	close(r.attached)
	caught <- syscall.SIGTERM
	r.run(ctx)
	if sig := <-r.out; sig != syscall.SIGTERM {
		t.Errorf("passed on: %v", sig)
	}
	if f := understood(context.Cause(ctx)); f.code != 143 {
		t.Errorf("left with %+v", f)
	}
}

func TestExecNeedsATerminal(t *testing.T) {
	d := newDesk(t, answers(nil, errors.New("the engine was asked")))
	d.stdin = strings.NewReader("")
	if code := d.run(t, "exec", "-it", "web", "sh"); code != exitExecFault || !strings.Contains(d.err.String(), "standard input is no terminal\nhint: without -t") {
		t.Errorf("exit %d, %q", code, d.err.String())
	}
	d.stdin, d.stdout = d.tty, io.Discard
	d.err.Reset()
	if code := d.run(t, "exec", "-it", "web", "sh"); code != exitExecFault || !strings.Contains(d.err.String(), "standard output is no terminal") {
		t.Errorf("exit %d, %q", code, d.err.String())
	}
}
