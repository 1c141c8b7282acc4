package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"

	"github.com/spf13/cobra"

	"github.com/arcboxlabs/arcbox-engine/actors/client"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/cmd/internal/home"
	"github.com/arcboxlabs/arcbox-engine/cmd/internal/service"
)

// installFlags are those of install and uninstall.
type installFlags struct {
	system, user, force, print bool
	engine                     engineFlags
}

func (f *installFlags) add(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.system, "system", false, "the host's service, run by root from boot on (what root gets by default)")
	cmd.Flags().BoolVar(&f.user, "user", false, "your own service (what everybody else gets by default)")
	oneOf(cmd, "system", "user")
}

func newEngineInstall(a *app) *cobra.Command {
	var f installFlags
	cmd := &cobra.Command{
		Use:   "install",
		Short: "Have the engine run as a service",
		Long: "Have the engine run as a service of systemd, or of launchd on macOS: from boot or\n" +
			"login on, started anew where it fails, upgraded by a restart. Machines run on\n" +
			"through all of that, and are shut down when the host or the session ends. An engine\n" +
			"that was started by hand gives way.\n\n" +
			"Repeated, it writes only what differs, and tells. A unit that you edited is left\n" +
			"alone; what systemctl edit makes is kept. A user's services end with the last\n" +
			"login, but for users who linger: loginctl enable-linger.\n\n" +
			"Whose engine --system runs is root's, with everything below " + systemHome + " unless\n" +
			home.Var + " or --home says otherwise.",
		Example: "  arcbox engine install\n  sudo arcbox engine install --system\n  arcbox engine install --print",
		Args:    noArgs,
	}
	f.add(cmd)
	f.engine.add(cmd)
	cmd.Flags().BoolVar(&f.force, "force", false, "write over units that were edited")
	cmd.Flags().BoolVar(&f.print, "print", false, "print the units, and do nothing")
	cmd.RunE = a.verb(func(ctx context.Context, _ *cobra.Command, _ []string) error { return a.install(ctx, f) })
	return cmd
}

func (a *app) install(ctx context.Context, f installFlags) error {
	flags, err := f.engine.args()
	if err != nil {
		return err
	}
	system, err := a.scope("install", f.system, f.user)
	if err != nil && !f.print {
		return err
	}
	m := a.manager(system)
	h, c, err := a.serviceConfig(system, flags)
	if err != nil {
		return err
	}
	want, err := m.files(c)
	if err != nil {
		return err
	}
	if f.print {
		return a.printUnits(want)
	}
	if system {
		if err := rootsOwn(c.Engine, c.CLI); err != nil {
			return err
		}
	}
	if err := m.ready(ctx); err != nil {
		return err
	}
	todo, err := plan(want, f.force)
	if err != nil {
		return err
	}
	if !m.runs(ctx) {
		if err := a.giveWay(ctx, h); err != nil {
			return err
		}
	}
	if err := write(want, todo); err != nil {
		return err
	}
	if err := m.activate(ctx, changed(todo)); err != nil {
		return err
	}
	return a.printInstalled(ctx, h, m, todo)
}

// giveWay ends an engine that was started by hand. Its machines run on.
func (a *app) giveWay(ctx context.Context, h home.Home) error {
	e, err := a.dial(ctx, h)
	if errors.Is(err, client.ErrNoEngine) {
		return nil
	}
	if err != nil {
		return err
	}
	defer e.Close()
	a.note("the engine that was started by hand gives way to the service; machines run on")
	return a.stopEngine(ctx, e, &wire.StopEngine{Request: request()})
}

func (a *app) printUnits(want []service.File) error {
	if a.json() {
		out := map[string]string{}
		for _, f := range want {
			out[f.Name] = string(f.Data)
		}
		return a.printJSON(out)
	}
	for _, f := range want {
		if _, err := fmt.Fprintf(a.stdout, "==> %s\n%s\n", f.Name, f.Data); err != nil {
			return err
		}
	}
	return nil
}

// installedJSON is what install and uninstall did.
type installedJSON struct {
	Units  []unitChange `json:"units"`
	Home   string       `json:"home"`
	Engine *engineJSON  `json:"engine,omitempty"`
}

func (a *app) printInstalled(ctx context.Context, h home.Home, m serviceManager, todo []unitChange) error {
	e, err := a.awaited(ctx, h, &child{}) // launchd does not wait for it
	if err != nil {
		return noEngine(h, err)
	}
	defer e.Close()
	info, err := ask[*wire.EngineInfo](ctx, e, &wire.EngineStatus{})
	if err != nil {
		return err
	}
	view := engineView(info)
	if a.json() {
		return a.printJSON(installedJSON{todo, h.Data, &view})
	}
	if err := a.printChanges(todo); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(a.stdout, "engine %s runs as a service, pid %d, with %d machines\n", printable(info.GetVersion()), info.GetPid(), info.GetMachines()); err != nil {
		return err
	}
	a.noteNext(ctx, h, m)
	return nil
}

func (a *app) printChanges(todo []unitChange) error {
	if a.quiet {
		return nil
	}
	for _, c := range todo {
		if _, err := fmt.Fprintf(a.stdout, "%-9s  %s\n", c.Action, c.Path); err != nil {
			return err
		}
	}
	return nil
}

// noteNext says what is left to a person.
func (a *app) noteNext(ctx context.Context, h home.Home, m serviceManager) {
	s, ok := m.(*systemd)
	switch {
	case !ok:
	case s.system:
		a.note("next: systemctl status arcbox-engine, %s", s.journal())
	default:
		a.note("next: systemctl --user status arcbox-engine, %s", s.journal())
		if me, err := user.Current(); err == nil && !s.lingers(ctx, me.Username) {
			a.note("it ends, and machines are shut down, with your last login, and it does not start before one; to change that: loginctl enable-linger")
		}
	}
	if h.Root != "" && a.env(home.Var) != h.Root {
		a.note("in your shells, for this engine: export %s=%s", home.Var, h.Root)
	}
}

func newEngineUninstall(a *app) *cobra.Command {
	var f installFlags
	cmd := &cobra.Command{
		Use:   "uninstall",
		Short: "Take the engine's service away; machines run on, and all data stays",
		Long: "Take the engine's service away. Machines run on and all data stays: the next command\n" +
			"starts an engine by hand, which adopts them. A unit that you edited is left alone.",
		Example: "  arcbox engine uninstall\n  sudo arcbox engine uninstall --system",
		Args:    noArgs,
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&f.force, "force", false, "remove units that were edited, too")
	cmd.RunE = a.verb(func(ctx context.Context, _ *cobra.Command, _ []string) error { return a.uninstall(ctx, f) })
	return cmd
}

func (a *app) uninstall(ctx context.Context, f installFlags) error {
	system, err := a.scope("uninstall", f.system, f.user)
	if err != nil {
		return err
	}
	h, err := a.serviceHome(system)
	if err != nil {
		return err
	}
	m := a.manager(system)
	want, err := m.files(nowhere)
	if err != nil {
		return err
	}
	todo, err := plan(want, f.force)
	if err != nil {
		return err
	}
	var there []unitChange
	for _, t := range todo {
		if t.Action != unitWritten { // nothing is there
			there = append(there, unitChange{t.Path, unitRemoved})
		}
	}
	if len(there) == 0 {
		a.note("the engine is no service: there is no %s", want[0].Name)
		return nil
	}
	if err := m.ready(ctx); err != nil {
		return err
	}
	if err := m.deactivate(ctx, func() error { return removeUnits(there) }); err != nil {
		return fmt.Errorf("engine uninstall: %w", err)
	}
	if a.json() {
		return a.printJSON(installedJSON{Units: there, Home: h.Data})
	}
	if err := a.printChanges(there); err != nil {
		return err
	}
	a.note("machines run on, and all data stays in %s; arcbox engine start adopts them", h.Data)
	return nil
}

func removeUnits(there []unitChange) error {
	for _, t := range there {
		if err := os.Remove(t.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
