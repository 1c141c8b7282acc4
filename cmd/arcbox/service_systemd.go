package main

import (
	"context"
	"path/filepath"
	"slices"
	"strings"

	"github.com/arcboxlabs/arcbox-engine/cmd/internal/service"
)

// systemd is the service manager of most of Linux.
type systemd struct {
	app    *app
	system bool
}

var _ serviceManager = (*systemd)(nil)

func (s *systemd) files(c service.Config) ([]service.File, error) {
	dir := "/etc/systemd/system"
	if !s.system {
		config := s.app.env("XDG_CONFIG_HOME")
		if !filepath.IsAbs(config) {
			config = filepath.Join(s.app.env("HOME"), ".config")
		}
		if !filepath.IsAbs(config) {
			return nil, badInput("user", "--user: neither HOME nor XDG_CONFIG_HOME says where units of a user go")
		}
		dir = filepath.Join(config, "systemd", "user")
	}
	return placed(service.Systemd(c))(dir)
}

// placed gives files their place.
func placed(made []service.File, err error) func(dir string) ([]service.File, error) {
	return func(dir string) ([]service.File, error) {
		for i := range made {
			made[i].Name = filepath.Join(dir, made[i].Name)
		}
		return made, err
	}
}

// control is systemctl.
func (s *systemd) control(ctx context.Context, args ...string) (string, error) {
	if !s.system {
		args = append([]string{"--user"}, args...)
	}
	return s.app.host.run(ctx, "systemctl", args...)
}

func (s *systemd) ready(ctx context.Context) error {
	if !s.app.host.booted() {
		return &failure{
			code: exitConflict, kind: "conflict", hint: "arcbox engine start, and so does every command that needs it\narcbox engine install --print shows what systemd would be told",
			message: "this host was not booted by systemd, and no other service manager of Linux is known here",
		}
	}
	if _, err := s.control(ctx, "show", "--property=Version"); err != nil {
		f := &failure{code: exitConflict, kind: "conflict", cause: err, message: "systemd can't be asked: " + err.Error(), hint: "journalctl -b -p err"}
		if !s.system {
			f.hint = "log in anew, by ssh or at a console: su and sudo give no session of one's own\nloginctl enable-linger, then log in anew, where there is to be one always"
		}
		return f
	}
	return nil
}

// states are those of the engine and of its sockets.
func (s *systemd) states(ctx context.Context) (engine, sockets string) {
	said, _ := s.control(ctx, "is-active", service.EngineUnit, service.SocketUnit) // its status says the same
	engine, sockets, _ = strings.Cut(said, "\n")
	return engine, sockets
}

func up(state string) bool { return state == "active" || state == "reloading" }

func (s *systemd) runs(ctx context.Context) bool {
	engine, sockets := s.states(ctx)
	return up(engine) || engine == "inactive" && up(sockets) // one that failed is not to be called well
}

// activate starts the units. Sockets and the engine begin anew where they are to
// be others, the sockets also while the engine is away: the machines run on. enable has systemd read all units again, which
// takes long on a host that has much to do: it is done only where it is needed.
func (s *systemd) activate(ctx context.Context, changed bool) error {
	units := []string{service.SocketUnit, service.EngineUnit, service.MachinesUnit}
	var steps [][]string
	if engine, sockets := s.states(ctx); changed && (up(engine) || up(sockets)) {
		steps = append(steps, []string{"stop", service.EngineUnit, service.SocketUnit})
	}
	if _, err := s.control(ctx, append([]string{"is-enabled"}, units...)...); err != nil || changed {
		steps = append(steps, append([]string{"enable"}, units...))
	}
	for _, args := range append(steps, append([]string{"start"}, units...)) {
		if _, err := s.control(ctx, args...); err != nil {
			return &failure{code: exitGeneral, kind: "failed", cause: err, message: err.Error(), hint: s.journal()}
		}
	}
	return nil
}

func (s *systemd) journal() string {
	if s.system {
		return "journalctl -u " + service.EngineUnit + " -n 20"
	}
	return "journalctl --user -u " + service.EngineUnit + " -n 20"
}

// deactivate stops the units. That of the machines does nothing but as the
// manager itself goes down. What somebody removed already is not missed.
func (s *systemd) deactivate(ctx context.Context, remove func() error) error {
	units := slices.DeleteFunc([]string{service.SocketUnit, service.EngineUnit, service.MachinesUnit}, func(unit string) bool {
		state, _ := s.control(ctx, "show", "--property=LoadState", "--value", unit) // what is not said is there
		return state == "not-found"
	})
	if len(units) > 0 {
		if _, err := s.control(ctx, append([]string{"disable", "--now", "--no-reload"}, units...)...); err != nil {
			return err
		}
	}
	if err := remove(); err != nil {
		return err
	}
	_, err := s.control(ctx, "daemon-reload")
	return err
}

// goingDown tells whether the manager is shutting down: the host, or the session
// of a user.
func (s *systemd) goingDown(ctx context.Context) (bool, error) {
	state, err := s.control(ctx, "is-system-running")
	if state != "" {
		err = nil // it fails for each state but one
	}
	return state == "stopping", err
}

// lingers tells whether a user's services run while the user is not logged in.
func (s *systemd) lingers(ctx context.Context, name string) bool {
	out, err := s.app.host.run(ctx, "loginctl", "show-user", name, "--property=Linger", "--value")
	return err == nil && strings.TrimSpace(out) == "yes"
}
