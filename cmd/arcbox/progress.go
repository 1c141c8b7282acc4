package main

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

const (
	progressStep  = 200 * time.Millisecond
	progressDelay = 3 // steps before anything is drawn: what is quick needs no progress
	progressAsk   = 5 // steps between two looks at the machine
	clearLine     = "\r\x1b[K"
)

var spinner = []string{"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"}

// progress draws one line on a terminal while something takes its time: what,
// the machine's state, and for how long. Elsewhere it does nothing. The
// function that it returns wipes the line, and may be called again.
func (a *app) progress(ctx context.Context, e engine, doing string, names []string) func() {
	l := line{doing: doing, names: names, began: a.now()}
	return a.drawn(ctx, func(ctx context.Context, step int) string {
		if l.step = step; len(names) == 1 && step%progressAsk == progressDelay {
			l.state = stateOf(ctx, e, names[0])
		}
		return l.text(a.now())
	})
}

type line struct {
	doing string
	names []string
	began time.Time
	state string
	step  int
}

// drawn draws what text says, anew at each step, on a terminal. The function
// that it returns wipes it, and may be called again.
func (a *app) drawn(ctx context.Context, text func(ctx context.Context, step int) string) func() {
	if a.quiet || a.json() || terminalWidth(a.stderr) == 0 {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var wait sync.WaitGroup
	wait.Go(func() {
		tick := time.NewTicker(progressStep)
		defer tick.Stop()
		a.draw(ctx, text, tick.C)
	})
	return func() { cancel(); wait.Wait() }
}

// draw draws until ctx is over, and wipes what it drew.
func (a *app) draw(ctx context.Context, text func(ctx context.Context, step int) string, tick <-chan time.Time) {
	for step := 1; ; step++ {
		select {
		case <-ctx.Done():
			if step > progressDelay {
				_, _ = io.WriteString(a.stderr, clearLine) // nobody to tell
			}
			return
		case <-tick:
		}
		if step >= progressDelay {
			_, _ = io.WriteString(a.stderr, clearLine+shorten(text(ctx, step), 78))
		}
	}
}

func (l line) text(now time.Time) string {
	what := fmt.Sprintf("%s %s", l.doing, l.names[0])
	if len(l.names) > 1 {
		what = fmt.Sprintf("%s %d machines", l.doing, len(l.names))
	}
	text := fmt.Sprintf("%s %s  %.1fs", spinner[l.step%len(spinner)], what, now.Sub(l.began).Seconds())
	if l.state != "" {
		text += "  " + l.state
	}
	return printable(text)
}

// stateOf is what a machine is at, and what it waits for, "" where the engine does not say so at once.
func stateOf(ctx context.Context, e engine, name string) string {
	ctx, cancel := context.WithTimeout(ctx, progressStep)
	defer cancel()
	m, err := tryAsk[*wire.Machine](ctx, e, &wire.InspectMachine{Name: name})
	if err != nil {
		return ""
	}
	return phaseOf(m)
}

// phaseOf is the state of a machine, and what it waits for there.
func phaseOf(m *wire.Machine) string {
	switch state := m.GetState(); {
	case m.GetBusy() != "":
		return m.GetBusy()
	case state == "Starting" && m.GetHostVersion() == "":
		return state + ", its VM is launched"
	case state == "Starting":
		return state + ", waits for its agent"
	case state == "Running" && m.GetSpec().GetImage() != "" && m.GetBootedUnixNanos() == 0:
		return state + ", waits for its init"
	case state == "Running" && m.GetSpec().GetProvision() != nil && m.GetProvisioned() == nil:
		return state + ", is set up"
	case state == "Stopping":
		return state + ", waits for its guest"
	default:
		return state
	}
}
