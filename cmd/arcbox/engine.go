package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/arcboxlabs/arcbox-engine/actors/client"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/cmd/internal/home"
)

// engineStopTime is how long an engine may take to end, once it has said that
// it does.
const engineStopTime = 15 * time.Second

func newEngine(a *app) *cobra.Command {
	cmd := group(&cobra.Command{
		Use:   "engine",
		Short: "Start, stop and look at the engine",
		Long: "The engine is the daemon that looks after machines. Most commands start it where\n" +
			"none runs. Machines outlive it.",
	})
	cmd.AddCommand(newEngineStatus(a), newEngineStart(a), newEngineStop(a), newEngineInstall(a), newEngineUninstall(a), newEngineStdio(a), newEngineOwn(a),
		newEngineInvite(a), newEngineJoin(a), newEngineClients(a), newEngineRevoke(a))
	return cmd
}

func newEngineStatus(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Tell how the engine does; exit 6 where none runs",
		Args:  noArgs,
		RunE: a.verb(asking(a.running, func(ctx context.Context, e engine, _ []string) error {
			return a.printStatus(ctx, e)
		})),
	}
}

func newEngineStart(a *app) *cobra.Command {
	var flags engineFlags
	cmd := &cobra.Command{
		Use:   "start",
		Short: "Start the engine, unless it runs already",
		Args:  noArgs,
	}
	flags.add(cmd)
	start := func(ctx context.Context) (engine, error) {
		args, err := flags.args()
		if err != nil {
			return nil, err
		}
		return a.started(ctx, args)
	}
	cmd.RunE = a.verb(asking(start, func(ctx context.Context, e engine, _ []string) error { return a.printStatus(ctx, e) }))
	return cmd
}

// engineFlags are flags that the engine gets as they are.
type engineFlags struct {
	allowSim bool
	listen   string
}

func (f *engineFlags) add(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.allowSim, "allow-sim", false, "allow machines of the backend sim, in which nothing really runs")
	cmd.Flags().StringVar(&f.listen, "listen", "", "listen for clients of other hosts, as tcp://ADDRESS:PORT (see arcbox help engine invite)")
}

func (f *engineFlags) args() ([]string, error) {
	var args []string
	if f.allowSim {
		args = append(args, "--allow-sim")
	}
	if f.listen != "" {
		if err := listenFlag(f.listen); err != nil {
			return nil, err
		}
		args = append(args, "--listen", f.listen)
	}
	return args, nil
}

// started is the engine that runs already, or one that is started with flags.
func (a *app) started(ctx context.Context, flags []string) (engine, error) {
	far := a.isFar()
	if far && len(flags) > 0 {
		return nil, badInput("context", "%s: only on the engine's own host", flags[0])
	}
	e, err := a.running(ctx)
	switch {
	case err == nil && len(flags) > 0:
		a.note("the engine runs already; with %s it runs once it was stopped: arcbox engine stop", strings.Join(flags, " "))
	case err == nil:
		a.note("the engine runs already")
	case !errors.Is(err, client.ErrNoEngine):
	case far:
		e, _, err = a.far(ctx, true)
	default:
		var h home.Home
		if h, err = a.home(); err == nil {
			e, err = a.startEngine(ctx, h, flags)
		}
	}
	return e, err
}

func newEngineStop(a *app) *cobra.Command {
	var machines bool
	var shutdown string
	limit := limitValue(defaultStopTime)
	cmd := &cobra.Command{
		Use:   "stop",
		Short: "Stop the engine; machines go on running",
		Long: "Stop the engine and wait until its process is gone. Machines go on running, and\n" +
			"the next engine adopts them; with --machines they are stopped first. An engine\n" +
			"that does not run is no error. An engine that is a service (arcbox engine install)\n" +
			"is started by the next command, unless systemctl stop arcbox-engine.socket keeps it off.",
		Args: noArgs,
	}
	cmd.Flags().BoolVar(&machines, "machines", false, "stop the machines first")
	cmd.Flags().Var(&limit, "timeout", "with --machines: time for the guests to shut down; past it they are killed")
	cmd.Flags().StringVar(&shutdown, "at-shutdown", "", "with --machines: do nothing unless this service manager, system or user, is shutting down; also without an engine")
	a.complete(cmd, "at-shutdown", "system", "user")
	cmd.RunE = a.verb(func(ctx context.Context, _ *cobra.Command, _ []string) error {
		if shutdown != "" {
			return a.stopAtShutdown(ctx, shutdown, machines, time.Duration(limit))
		}
		e, err := a.running(ctx)
		if errors.Is(err, client.ErrNoEngine) {
			a.note("no engine is running")
			return nil
		}
		if err != nil {
			return err
		}
		defer e.Close()
		return a.stopEngine(ctx, e, &wire.StopEngine{Request: request(), Machines: machines, TimeoutNanos: int64(limit)})
	})
	return cmd
}

// stopEngine asks for the end and waits until the process is gone. The process
// is held on to while the engine still answers, so that it can't be mistaken
// for another one later.
func (a *app) stopEngine(ctx context.Context, e engine, msg *wire.StopEngine) error {
	info, err := ask[*wire.EngineInfo](ctx, e, &wire.EngineStatus{})
	if err != nil {
		return err
	}
	if a.isFar() { // its process is not ours to watch
		_, err := command(ctx, e, msg)
		return err
	}
	gone, err := watchProcess(int(info.GetPid()))
	if err != nil {
		return fmt.Errorf("engine stop: %w", err)
	}
	defer gone.Close()
	stop := a.progress(ctx, e, "stopping", []string{"engine"})
	defer stop()
	if _, err := command(ctx, e, msg); err != nil && !errors.Is(err, client.ErrDisconnected) {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, engineStopTime, &failure{
		code: exitTimeout, kind: "timeout", hint: "see its log, or kill it: its machines outlive it",
		message: fmt.Sprintf("the engine said that it ends, and its process %d is still there after %s", info.GetPid(), engineStopTime),
	})
	defer cancel()
	return gone.Wait(ctx)
}

type engineJSON struct {
	Version    string     `json:"version"`
	PID        int32      `json:"pid"`
	Started    *time.Time `json:"started,omitempty"`
	Home       string     `json:"home"`
	Seq        uint64     `json:"seq"`
	Machines   uint32     `json:"machines"`
	Running    uint32     `json:"running"`
	Unrepaired uint32     `json:"unrepaired"`
	Damaged    uint32     `json:"damaged"`
	BootID     string     `json:"boot_id"`
	DiskSlow   bool       `json:"disk_slow"`
	DiskLow    bool       `json:"disk_low"`
	SimAllowed bool       `json:"sim_allowed"`
}

func engineView(i *wire.EngineInfo) engineJSON {
	return engineJSON{
		Version: i.GetVersion(), PID: i.GetPid(), Started: wireTime(i.GetStartedUnixNanos()), Home: i.GetHome(), Seq: i.GetSeq(),
		Machines: i.GetMachines(), Running: i.GetRunning(), Unrepaired: i.GetUnrepaired(), Damaged: i.GetDamaged(),
		BootID: i.GetBootId(), DiskSlow: i.GetDiskSlow(), DiskLow: i.GetDiskLow(), SimAllowed: i.GetSimAllowed(),
	}
}

func (a *app) printStatus(ctx context.Context, e engine) error {
	info, err := ask[*wire.EngineInfo](ctx, e, &wire.EngineStatus{})
	if err != nil {
		return err
	}
	if a.json() {
		return a.printJSON(engineView(info))
	}
	if a.quiet {
		return nil
	}
	return a.printFacts([]fact{
		{"engine", "running"},
		{"version", info.GetVersion()},
		{"pid", fmt.Sprint(info.GetPid())},
		{"started", a.when(info.GetStartedUnixNanos())},
		{"home", info.GetHome()},
		{"machines", fmt.Sprintf("%d, %d of them running", info.GetMachines(), info.GetRunning())},
		{"not looked at", number(int64(info.GetUnrepaired()))},
		{"damaged", number(int64(info.GetDamaged()))},
		{"last record", fmt.Sprint(info.GetSeq())},
		{"disk", diskText(info)},
		{"sim", ifSet(info.GetSimAllowed(), "allowed")},
	})
}

func diskText(i *wire.EngineInfo) string {
	switch {
	case i.GetDiskLow():
		return "almost full: nothing new is created or started"
	case i.GetDiskSlow():
		return "slow"
	}
	return ""
}
