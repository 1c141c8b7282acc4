package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

const defaultStartTime = 60 * time.Second

func newStart(a *app) *cobra.Command {
	limit, until, fresh := limitValue(defaultStartTime), "", false
	cmd := &cobra.Command{
		Use:        "start [NAME...]",
		SuggestFor: []string{"boot"},
		Short:      "Start machines, and wait until they are usable",
		Long: "Start machines (the default one where none is named) and wait until each is Running, which means\n" +
			"that its agent answers; with --wait booted, until the init of its image is ready; with\n" +
			"--wait provisioned, until its set-up has a result, and exit 1 where that failed.\n" +
			"A machine that is not there in time is stopped again, with\n" +
			"a cause. One that was suspended goes on where it was; with --fresh it boots, and what was\n" +
			"in its memory is thrown away. Ctrl-C detaches: the engine goes on.",
		Example: "  arcbox start web\n  arcbox start a b c --timeout 2m",
	}
	chosen := a.machinesFlag(cmd, 0)
	addStartTimeout(cmd, &limit, "timeout")
	cmd.Flags().StringVar(&until, "wait", untilRunning, "what to wait for: "+strings.Join(startUntil, " or "))
	a.complete(cmd, "wait", startUntil...)
	cmd.Flags().BoolVar(&fresh, "fresh", false, "boot, also where the machine was suspended")
	cmd.RunE = a.verb(func(ctx context.Context, cmd *cobra.Command, args []string) error {
		if !slices.Contains(startUntil, until) {
			return usage(cmd, badInput("wait", "--wait %q: one of %s", shorten(until, 80), strings.Join(startUntil, ", ")))
		}
		return a.change(ctx, chosen(args), a.startingAs(time.Duration(limit), until, fresh))
	})
	return cmd
}

func addStartTimeout(cmd *cobra.Command, limit *limitValue, name string) {
	cmd.Flags().Var(limit, name, "time from the VM's launch until the agent answers")
}

// What a start may wait for.
const (
	untilRunning = "running"
	untilBooted  = "booted"
)

var startUntil = []string{untilRunning, untilBooted, untilProvisioned}

// starting starts a machine, and waits as long again for its init where that is
// wanted. A machine without an image has none to wait for.
func (a *app) starting(limit time.Duration, until string) change {
	return a.startingAs(limit, until, false)
}

// startingAs boots it where that is to be fresh, whatever is saved of it.
func (a *app) startingAs(limit time.Duration, until string, fresh bool) change {
	return change{doing: "starting", until: until, do: func(ctx context.Context, e engine, name string) (*wire.Done, error) {
		done, err := command(ctx, e, &wire.StartMachine{Request: request(), Name: name, TimeoutNanos: int64(limit), Fresh: fresh})
		if err == nil && until == untilProvisioned {
			return awaitSetUp(ctx, e, name, done.GetMachine())
		}
		if err != nil || until == untilRunning || done.GetMachine().GetSpec().GetImage() == "" {
			return done, err
		}
		return await(ctx, e, name, until, limit)
	}}
}
