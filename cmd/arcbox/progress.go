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
	if a.quiet || a.json() || terminalWidth(a.stderr) == 0 {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var wait sync.WaitGroup
	wait.Go(func() {
		tick := time.NewTicker(progressStep)
		defer tick.Stop()
		a.draw(ctx, e, line{doing: doing, names: names, began: a.now()}, tick.C)
	})
	return func() { cancel(); wait.Wait() }
}

type line struct {
	doing string
	names []string
	began time.Time
	state string
	step  int
}

// draw draws until ctx is over, and wipes what it drew.
func (a *app) draw(ctx context.Context, e engine, l line, tick <-chan time.Time) {
	for {
		select {
		case <-ctx.Done():
			if l.step >= progressDelay {
				_, _ = io.WriteString(a.stderr, clearLine) // nobody to tell
			}
			return
		case <-tick:
		}
		if l.step++; l.step < progressDelay {
			continue
		}
		if len(l.names) == 1 && l.step%progressAsk == progressDelay {
			l.state = stateOf(ctx, e, l.names[0])
		}
		_, _ = io.WriteString(a.stderr, clearLine+shorten(l.text(a.now()), 78))
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

// stateOf is what a machine is at, "" where the engine does not say so at once.
func stateOf(ctx context.Context, e engine, name string) string {
	ctx, cancel := context.WithTimeout(ctx, progressStep)
	defer cancel()
	m, err := ask[*wire.Machine](ctx, e, &wire.InspectMachine{Name: name})
	if err != nil {
		return ""
	}
	return m.GetState()
}
