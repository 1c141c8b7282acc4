package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/arcboxlabs/arcbox-engine/actors/client"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

// hostShutdown is the reason that the journal gives for it.
const hostShutdown = "host-shutdown"

// stopAtShutdown is what arcbox-machines.service runs when it is stopped: with
// the host or the session, and for reasons that cost no machine.
func (a *app) stopAtShutdown(ctx context.Context, manager string, machines bool, limit time.Duration) error {
	if manager != "system" && manager != "user" {
		return badInput("at-shutdown", "--at-shutdown %q: system or user", shorten(manager, 80))
	}
	if !machines {
		return badInput("machines", "--at-shutdown is about machines: --machines is needed")
	}
	if a.contextFlag != "" && !strings.EqualFold(a.contextFlag, localContext) {
		return badInput("context", "--context %q: --at-shutdown is about this host's engine", shorten(a.contextFlag, 80))
	}
	a.contextFlag = localContext // whatever context use chose: machines of another host stay up
	s := &systemd{app: a, system: manager == "system"}
	down, err := s.goingDown(ctx)
	if err != nil {
		return err
	}
	if !down {
		a.note("systemd is not shutting down: machines run on")
		return nil
	}
	e, err := a.running(ctx)
	if err == nil {
		defer e.Close()
		err = a.stopEngine(ctx, e, &wire.StopEngine{Request: request(), Machines: true, TimeoutNanos: int64(limit), Reason: hostShutdown})
	}
	if !errors.Is(err, client.ErrNoEngine) && !errors.Is(err, client.ErrDisconnected) && !muteEngine(err) && !errors.Is(err, errMute) {
		return err
	}
	// By now no engine is started for us, and its sockets are systemd's until the end.
	a.note("no engine answers (%v): one without sockets stops the machines", err)
	h, err := a.home()
	if err != nil {
		return err
	}
	path, err := findEngine(a.env)
	if err != nil {
		return err
	}
	return a.replace(path, []string{engineName, "stop-machines", "--timeout", limit.String()}, homeEnv(a.environ(), h))
}
