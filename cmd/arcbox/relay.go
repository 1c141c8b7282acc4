package main

import (
	"context"
	"os"
	"syscall"
	"time"

	"github.com/arcboxlabs/arcbox-engine/guest"
)

// leaveTime is how long a program with a terminal may take to end by a TERM or
// HUP that it was handed on: after it, arcbox does what it was told.
const leaveTime = 2 * time.Second

// relay carries signals to the guest.
type relay struct {
	caught   <-chan os.Signal
	out      chan os.Signal
	attached chan struct{} // closed when the program is about to run
	cancel   context.CancelCauseFunc
	now      func() time.Time
	last     [2]time.Time // of the last two Ctrl-C

	terminal *terminal // nil = none
	resizes  chan guest.TerminalSize
	leave    time.Duration
}

// relay begins to catch what is meant for a program in the guest.
func (a *app) relay(t *terminal, cancel context.CancelCauseFunc) (*relay, func()) {
	which := []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT}
	if t != nil {
		which = append(which, syscall.SIGWINCH)
	}
	caught, stop := a.signals(which...)
	return &relay{
		caught: caught, out: make(chan os.Signal, 8), attached: make(chan struct{}), cancel: cancel, now: a.now,
		terminal: t, resizes: make(chan guest.TerminalSize, 1), leave: leaveTime,
	}, stop
}

func (r *relay) run(ctx context.Context) {
	if r.terminal != nil {
		defer r.terminal.guard()
	}
	var leaving <-chan time.Time
	var why error
	for {
		select {
		case <-ctx.Done():
			return
		case <-leaving:
			r.cancel(why)
			return
		case sig := <-r.caught:
			if sig == syscall.SIGWINCH {
				r.resize()
				continue
			}
			if !r.pass(sig) {
				r.cancel(errInterrupted)
				return
			}
			if n, ok := sig.(syscall.Signal); ok && leaving == nil && r.leaves(sig) {
				leaving, why = time.After(r.leave), exitWith(128+int(n))
			}
		}
	}
}

// leaves tells whether a signal ends arcbox where it does not end the program:
// a shell at its prompt passes over TERM, and this terminal may be gone.
func (r *relay) leaves(sig os.Signal) bool {
	return r.terminal != nil && (sig == syscall.SIGTERM || sig == syscall.SIGHUP)
}

// resize keeps only the newest size for a guest that is slow to take it.
func (r *relay) resize() {
	select {
	case <-r.resizes:
	default:
	}
	r.resizes <- r.terminal.size()
}

// pass hands a signal on; false = it is meant for us.
func (r *relay) pass(sig os.Signal) bool {
	select {
	case <-r.attached:
	default:
		return false
	}
	if sig == os.Interrupt {
		now := r.now()
		if now.Sub(r.last[0]) < time.Second {
			return false
		}
		r.last = [2]time.Time{r.last[1], now}
	}
	select {
	case r.out <- sig:
	default: // eight wait already
	}
	return true
}
