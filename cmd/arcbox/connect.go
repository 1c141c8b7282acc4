package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/arcboxlabs/arcbox-engine/actors/client"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/cmd/internal/home"
)

// How long a started engine may take until it answers, and how often to try.
const (
	engineStartTime = awayTime
	engineStartStep = 20 * time.Millisecond
	dialTime        = 5 * time.Second
	dyingTries      = 25
	// loserGrace is for an engine that died, maybe because another one was
	// quicker: that one may still be reading its journal.
	loserGrace = time.Second
	// winnerGrace is for the one that holds the lock: it may wait for a reader of
	// its journal.
	winnerGrace = 8 * time.Second
)

// engine connects to the engine that was chosen. This host's is started where
// nobody listens, unless that was forbidden.
func (a *app) engine(ctx context.Context) (engine, error) {
	if e, far, err := a.far(ctx, !a.noAutostart); far || err != nil {
		return e, err
	}
	h, err := a.home()
	if err != nil {
		return nil, err
	}
	e, err := a.patiently(ctx, h)
	if !errors.Is(err, client.ErrNoEngine) || a.noAutostart {
		return e, noEngine(h, err)
	}
	return a.startEngine(ctx, h, nil)
}

// machine connects to the engine that was chosen, and asks for a machine of it.
func (a *app) machine(ctx context.Context, name string) (engine, *wire.Machine, error) {
	e, err := a.engine(ctx)
	if err != nil {
		return nil, nil, err
	}
	m, err := ask[*wire.Machine](ctx, e, &wire.InspectMachine{Name: name})
	if err != nil {
		e.Close()
		return nil, nil, err
	}
	return e, m, nil
}

// far connects to an engine elsewhere, where one was chosen. By ssh one may be started.
func (a *app) far(ctx context.Context, start bool) (e engine, far bool, err error) {
	p, err := a.choice()
	if err != nil || p.remote == nil {
		return nil, false, err
	}
	at, err := parseEndpoint(p.remote.Endpoint)
	if err != nil {
		return nil, true, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, stdioTime, &failure{
		code: exitNoEngine, kind: "unavailable", hint: "arcbox context list",
		message: fmt.Sprintf("the engine of the context %q (%s) does not answer after %s", p.name, p.remote.Endpoint, stdioTime),
	})
	defer cancel()
	door, err := a.door(at, p.remote, start)
	if err != nil {
		return nil, true, err
	}
	e, err = a.connect(ctx, door)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if f, ok := errors.AsType[*failure](err); ok && errors.Is(f, client.ErrNoEngine) {
		f.hint = "arcbox --context " + p.name + " engine start"
	}
	return e, true, err
}

// door is the way to an engine elsewhere.
func (a *app) door(at endpoint, c *remoteContext, start bool) (client.Door, error) {
	if at.scheme == "tcp" {
		return client.NewTCP(at.address(), client.Identity{CA: c.CA, Certificate: c.Certificate, Key: c.Key})
	}
	door := sshDoor{at: at, text: c.Endpoint, silent: a.silent}
	if !start {
		door.flags = []string{"--no-autostart"}
	}
	return door, nil
}

// running connects to an engine that is there, and starts none, here or elsewhere.
func (a *app) running(ctx context.Context) (engine, error) {
	if e, far, err := a.far(ctx, false); far || err != nil {
		return e, err
	}
	h, err := a.home()
	if err != nil {
		return nil, err
	}
	e, err := a.dial(ctx, h)
	return e, noEngine(h, err)
}

func (a *app) dial(ctx context.Context, h home.Home) (engine, error) {
	dialCtx, cancel := context.WithTimeoutCause(ctx, dialTime, errSilent)
	defer cancel()
	e, err := a.connect(dialCtx, client.Socket(h.Socket()))
	// An engine that is just dying takes the connection and resets it: a moment
	// later nobody listens, or the next one does.
	for range dyingTries {
		if !errors.Is(err, client.ErrDisconnected) || dialCtx.Err() != nil {
			break
		}
		select {
		case <-time.After(engineStartStep):
		case <-dialCtx.Done():
		}
		e, err = a.connect(dialCtx, client.Socket(h.Socket()))
	}
	if err == nil {
		return e, nil
	}
	if late, ok := errors.AsType[net.Error](err); ok && late.Timeout() {
		<-dialCtx.Done() // the socket's deadline is the context's, and may be told a moment earlier
	}
	if dialCtx.Err() != nil {
		err = context.Cause(dialCtx)
	}
	return nil, err // and no typed nil
}

// otherHome is what helps where a home is another user's, or no place at all.
const otherHome = "set ARCBOX_HOME to a directory of your own"

// rootCause is the system's word without the chain that led to it.
func rootCause(err error) error {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno
	}
	return err
}

// noEngine says where the engine was looked for, and whose it may be.
func noEngine(h home.Home, err error) error {
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.ENOTDIR) {
		return &failure{
			code: exitNoEngine, kind: "unavailable", hint: otherHome, cause: err,
			message: fmt.Sprintf("the engine's socket %s can't be reached by you: %v", h.Socket(), rootCause(err)),
		}
	}
	if uid, known := ownerOf(h.Socket()); errors.Is(err, client.ErrDisconnected) && known && uid != os.Geteuid() && os.Geteuid() != 0 {
		return &failure{
			code: exitNoEngine, kind: "unavailable", hint: otherHome, cause: err,
			message: fmt.Sprintf("the engine on %s is user %d's, and answers him and root only", h.Socket(), uid),
		}
	}
	if !errors.Is(err, client.ErrNoEngine) {
		return err
	}
	return &failure{
		code: exitNoEngine, kind: "unavailable", hint: "arcbox engine start", cause: client.ErrNoEngine,
		message: fmt.Sprintf("no engine is running: nobody listens on %s", h.Socket()),
	}
}

// ownerOf is the user whose file it is.
func ownerOf(path string) (uid int, known bool) {
	info, err := os.Lstat(path)
	if err != nil {
		return 0, false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(st.Uid), true
}

// startEngine starts an engine and waits until one answers. That may be one
// that somebody else started at the same moment: ours then ends by itself,
// because only one can hold the engine's lock.
func (a *app) startEngine(ctx context.Context, h home.Home, flags []string) (engine, error) {
	started, err := a.launch(ctx, h, flags)
	if err != nil {
		return nil, err
	}
	return a.awaited(ctx, h, started)
}

// awaited is the engine that was started just now, by us or by a service manager,
// whose child is nobody's here: it never exits.
func (a *app) awaited(ctx context.Context, h home.Home, started *child) (engine, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, engineStartTime, &failure{
		code: exitNoEngine, kind: "unavailable", hint: "arcbox engine status",
		message: fmt.Sprintf("the engine was started and does not answer after %s; its log is %s", engineStartTime, h.EngineLog()),
	})
	defer cancel()
	step, soon := time.NewTicker(engineStartStep), time.NewTimer(awaySoon)
	defer step.Stop()
	defer soon.Stop()
	for exited := started.exited; ; {
		e, err := a.dial(ctx, h)
		if !errors.Is(err, client.ErrNoEngine) {
			return e, err
		}
		select {
		case code := <-exited:
			exited = nil
			grace := loserGrace
			if code == exitConflict { // another engine holds the lock, and is about to answer
				grace = winnerGrace
			}
			var give context.CancelFunc
			ctx, give = context.WithTimeoutCause(ctx, grace, started.died(code))
			defer give()
		case <-soon.C:
			a.note("the engine was started and says nothing yet: waiting up to %s for it; its log is %s", engineStartTime, h.EngineLog())
		case <-step.C:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}
