package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/arcboxlabs/arcbox-engine/cmd/internal/home"
	"github.com/arcboxlabs/arcbox-engine/cmd/internal/service"
	whole "github.com/arcboxlabs/arcbox-engine/guest/files"
)

// systemHome is where the engine of the host keeps its things, where no home was named.
const systemHome = "/var/lib/arcbox"

// maxUnit bounds a unit that lies where one of ours is to go.
const maxUnit = 1 << 20

// serviceManager is what runs services on this host: systemd or launchd. What it
// is asked concerns the host's services, or one user's.
type serviceManager interface {
	// files are what describes the service to it, with absolute names.
	files(c service.Config) ([]service.File, error)
	// ready refuses, with the remedy, where it can't be asked.
	ready(ctx context.Context) error
	// runs tells whether it runs the engine now, or as soon as somebody asks.
	runs(ctx context.Context) bool
	// activate starts the service, now and from now on; where its files changed, anew.
	activate(ctx context.Context, changed bool) error
	// deactivate ends the service for good, and has its files removed. Machines run on.
	deactivate(ctx context.Context, remove func() error) error
}

// host is what a service manager needs of this host; tests bring their own.
type host struct {
	goos   string
	uid    int
	booted func() bool // systemd is process 1
	// holds tells whether a service manager listens at a socket, and starts who is asked.
	holds func(socket string) bool
	run   func(ctx context.Context, name string, args ...string) (string, error)
}

func thisHost() host {
	return host{
		goos: runtime.GOOS, uid: os.Geteuid(), run: runProgram, holds: heldByManager,
		booted: func() bool { // as sd_booted(3) does
			info, err := os.Lstat("/run/systemd/system")
			return err == nil && info.IsDir()
		},
	}
}

// runProgram gives what a program printed, and an error with its own words.
func runProgram(ctx context.Context, name string, args ...string) (string, error) {
	var out, said bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...) //nolint:gosec // the service manager's own commands
	cmd.Stdout, cmd.Stderr = &out, &said
	err := cmd.Run()
	text := strings.TrimSpace(out.String())
	if err != nil {
		return text, fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, shorten(strings.TrimSpace(said.String()), 1000))
	}
	return text, nil
}

// manager is the one of this host, for the host's services or for this user's.
func (a *app) manager(system bool) serviceManager {
	if a.host.goos == "darwin" {
		return &launchd{app: a, system: system}
	}
	return &systemd{app: a, system: system}
}

// scope says which services are meant by verb: a flag says it, else who asks.
func (a *app) scope(verb string, system, user bool) (isSystem bool, err error) {
	switch {
	case system && a.host.uid != 0:
		return true, &failure{code: exitUnsafe, kind: "unsafe", field: "system", hint: "sudo arcbox engine " + verb + " --system\narcbox engine " + verb + " --user, for your own",
			message: "--system: the host's services are root's to change"}
	case user && a.host.uid == 0 && a.env("SUDO_USER") != "":
		return false, badInput("user", "--user: as root that is root's own service, not that of %s: leave out sudo", a.env("SUDO_USER"))
	}
	return system || !user && a.host.uid == 0, nil
}

// serviceHome is where the service's engine keeps its things.
func (a *app) serviceHome(system bool) (home.Home, error) {
	if system && a.homeFlag == "" && a.env(home.Var) == "" {
		a.homeFlag = systemHome
	}
	return a.home()
}

// nowhere is enough to know the names of the files.
var nowhere = service.Config{Engine: "/", CLI: "/", Socket: "/", Tickets: "/", Log: "/"}

// serviceConfig is what the service of this home is made of.
func (a *app) serviceConfig(system bool, flags []string) (home.Home, service.Config, error) {
	h, err := a.serviceHome(system)
	if err != nil {
		return h, service.Config{}, err
	}
	engine, err := findEngine(a.env)
	if err != nil {
		return h, service.Config{}, err
	}
	cli, err := ownPath()
	if err != nil {
		return h, service.Config{}, err
	}
	c := service.Config{
		System: system, Engine: beside(cli, engine), CLI: cli, Flags: flags, Env: a.serviceEnv(h, system),
		Socket: h.Socket(), Tickets: h.Tickets(), Log: h.EngineLog(), Version: buildVersion(),
	}
	return h, c, nil
}

// serviceEnv carries over what says where things are: a service manager knows
// nothing of a shell's variables.
func (a *app) serviceEnv(h home.Home, system bool) []service.Var {
	var out []service.Var
	if h.Root != "" {
		out = append(out, service.Var{Name: home.Var, Value: h.Root})
	}
	names := []string{"ARCBOX_QEMU", "XDG_CACHE_HOME"}
	if h.Root == "" {
		names = append(names, "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME")
	}
	for _, name := range names {
		if v := a.env(name); filepath.IsAbs(v) {
			out = append(out, service.Var{Name: name, Value: v})
		}
	}
	if root, err := user.LookupId("0"); system && err == nil { // systemd and launchd set none
		out = append(out, service.Var{Name: "HOME", Value: root.HomeDir})
	}
	if a.host.goos == "darwin" { // launchd's has neither Homebrew nor MacPorts
		out = append(out, service.Var{Name: "PATH", Value: "/opt/homebrew/bin:/usr/local/bin:/opt/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"})
	}
	return out
}

// What is done to a unit.
const (
	unitWritten   = "written"
	unitUpdated   = "updated"
	unitUnchanged = "unchanged"
	unitRemoved   = "removed"
)

// unitChange is what install or uninstall does to one file.
type unitChange struct {
	Path   string `json:"path"`
	Action string `json:"action"`
}

// plan looks at what lies where the files are to go, and refuses to write over
// what somebody edited.
func plan(want []service.File, force bool) ([]unitChange, error) {
	var out []unitChange
	var edited []string
	for _, f := range want {
		have, err := whole.Read(f.Name, maxUnit)
		action := unitUpdated
		switch {
		case errors.Is(err, fs.ErrNotExist):
			if _, linked := os.Lstat(f.Name); linked == nil { // to nowhere
				edited = append(edited, f.Name)
			}
			action = unitWritten
		case err != nil && !errors.Is(err, whole.ErrKind) && !errors.Is(err, whole.ErrSize):
			return nil, fmt.Errorf("look at %s: %w", f.Name, err)
		case err == nil && bytes.Equal(have, f.Data):
			action = unitUnchanged
		case err != nil || service.Ours(have) != nil: // a device too: that is how units are masked
			edited = append(edited, f.Name)
		}
		out = append(out, unitChange{f.Name, action})
	}
	if len(edited) > 0 && !force {
		return nil, &failure{
			code: exitUnsafe, kind: "unsafe", field: "force", hint: "--force writes over it; what is changed by systemctl edit is kept in a file of its own",
			message: strings.Join(edited, ", ") + ": " + service.ErrEdited.Error(),
		}
	}
	return out, nil
}

// write carries a plan out.
func write(want []service.File, todo []unitChange) error {
	for i, f := range want {
		if todo[i].Action == unitUnchanged {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(f.Name), 0o755); err != nil { //nolint:gosec // everybody may read units
			return fmt.Errorf("write units: %w", err)
		}
		if err := whole.Replace(f.Name, f.Data, 0o644); err != nil {
			return fmt.Errorf("write units: %w", err)
		}
	}
	return nil
}

func changed(todo []unitChange) bool {
	return slices.ContainsFunc(todo, func(c unitChange) bool { return c.Action != unitUnchanged })
}
