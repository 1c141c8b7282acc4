package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/arcboxlabs/arcbox-engine/actors/client"
	"github.com/arcboxlabs/arcbox-engine/cmd/internal/home"
)

const (
	// awayTime is how long a command waits for the next engine where the one that it
	// began with is gone, and for one that a service manager starts for it.
	awayTime = time.Minute
	// awaySoon is when it says so.
	awaySoon = 3 * time.Second
)

// errNeverCame is an engine that its service manager starts, and that says nothing.
var errNeverCame error = &failure{
	code: exitNoEngine, kind: "unavailable", hint: "arcbox engine status", cause: client.ErrMute,
	message: fmt.Sprintf("the engine's service was asked, and does not answer after %s", awayTime),
}

// away says what a command does whose engine went away: it tells, and gives up after
// awayTime, or after its own --timeout where that is shorter. No engine is started
// for it: maybe one was stopped on purpose just now.
func (e *liveEngine) away(own time.Duration) []client.Option {
	most := awayTime
	if own > 0 && own < most {
		most = own
	}
	return []client.Option{client.GiveUpAfter(most), client.TellAfter(awaySoon, func() {
		e.told(fmt.Sprintf("the engine went away: waiting up to %s for the next one; arcbox engine start brings one, Ctrl-C gives up", most))
	})}
}

// telling tells one after the other, and each thing once, where many commands of
// one command line wait for the same.
func (a *app) telling() func(string) {
	var mu sync.Mutex
	said := map[string]bool{}
	return func(text string) {
		mu.Lock()
		defer mu.Unlock()
		if said[text] {
			return
		}
		said[text] = true
		if terminalWidth(a.stderr) > 0 {
			text = clearLine + text // where progress is drawn
		}
		a.note("%s", text)
	}
}

// patiently connects to this host's engine. Behind a service manager's socket, one
// that says nothing yet is being started: that may take longer than an engine that
// runs takes to say hello.
func (a *app) patiently(ctx context.Context, h home.Home) (engine, error) {
	e, err := a.dial(ctx, h)
	if !muteEngine(err) || !a.host.holds(h.Socket()) {
		return e, err
	}
	a.note("the engine's service says nothing yet: waiting up to %s for it; arcbox doctor, in another terminal, looks at it", awayTime)
	ctx, cancel := context.WithTimeoutCause(ctx, awayTime, errNeverCame)
	defer cancel()
	for muteEngine(err) && ctx.Err() == nil {
		e, err = a.dial(ctx, h)
	}
	if err != nil && ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return e, err
}

func muteEngine(err error) bool { return errors.Is(err, client.ErrMute) || errors.Is(err, errSilent) }
