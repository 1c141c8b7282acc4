package main

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/arcboxlabs/arcbox-engine/cmd/internal/service"
)

// launchd is macOS's.
type launchd struct {
	app    *app
	system bool
}

var _ serviceManager = (*launchd)(nil)

func (l *launchd) files(c service.Config) ([]service.File, error) {
	dir := "/Library/LaunchDaemons"
	if !l.system {
		dir = filepath.Join(l.app.env("HOME"), "Library", "LaunchAgents")
	}
	return placed(service.Launchd(c))(dir)
}

// domain is where launchd keeps the service: the host's, or that of a user at the screen.
func (l *launchd) domain() string {
	if l.system {
		return "system"
	}
	return fmt.Sprintf("gui/%d", l.app.host.uid)
}

func (l *launchd) plist() (string, error) {
	files, err := l.files(nowhere)
	if err != nil {
		return "", err
	}
	return files[0].Name, nil
}

func (l *launchd) ready(ctx context.Context) error {
	if _, err := l.app.host.run(ctx, "launchctl", "print", l.domain()); err != nil {
		return &failure{
			code: exitConflict, kind: "conflict", cause: err, message: "launchd can't be asked: " + err.Error(),
			hint: "log in at the screen once, for an agent of your own\nsudo arcbox engine install --system, for one that needs nobody logged in",
		}
	}
	return nil
}

func (l *launchd) runs(ctx context.Context) bool {
	_, err := l.app.host.run(ctx, "launchctl", "print", l.domain()+"/"+service.Label)
	return err == nil
}

func (l *launchd) activate(ctx context.Context, changed bool) error {
	path, err := l.plist()
	if err != nil {
		return err
	}
	loaded := l.runs(ctx)
	if loaded && !changed {
		return nil
	}
	steps := [][]string{{"enable", l.domain() + "/" + service.Label}, {"bootstrap", l.domain(), path}}
	if loaded {
		steps = append([][]string{{"bootout", l.domain() + "/" + service.Label}}, steps...)
	}
	for _, args := range steps {
		if _, err := l.app.host.run(ctx, "launchctl", args...); err != nil {
			return &failure{code: exitGeneral, kind: "failed", cause: err, message: err.Error(), hint: "launchctl print " + l.domain() + "/" + service.Label}
		}
	}
	return nil
}

func (l *launchd) deactivate(ctx context.Context, remove func() error) error {
	if l.runs(ctx) {
		if _, err := l.app.host.run(ctx, "launchctl", "bootout", l.domain()+"/"+service.Label); err != nil {
			return err
		}
	}
	return remove()
}
