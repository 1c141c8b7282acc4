package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

const defaultStopTime = 30 * time.Second

// killFlag is --kill, which others of this field call --force.
func killFlag(cmd *cobra.Command, kill *bool) {
	cmd.Flags().BoolVar(kill, "kill", false, "kill it at once (--force is the same)")
	cmd.Flags().SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if name == "force" {
			name = "kill"
		}
		return pflag.NormalizedName(name)
	})
}

func newStop(a *app) *cobra.Command {
	var kill, noKill bool
	limit := limitValue(defaultStopTime)
	cmd := &cobra.Command{
		Use:        "stop [NAME...]",
		SuggestFor: []string{"kill", "halt", "poweroff", "shutdown"},
		Short:      "Stop machines",
		Long: "Ask machines (the default one where none is named) to shut down, and wait until each is Stopped. A\n" +
			"guest that takes longer than --timeout is killed, which is said and is no error.\n" +
			"With --no-kill it goes on running instead (exit 5). A stopped machine is no error\n" +
			"either. Ctrl-C detaches: the engine goes on.",
		Example: "  arcbox stop web\n  arcbox stop web --kill",
	}
	chosen := a.machinesFlag(cmd, 0)
	f := cmd.Flags()
	f.Var(&limit, "timeout", "time for the guest to shut down")
	killFlag(cmd, &kill)
	f.BoolVar(&noKill, "no-kill", false, "give up instead of killing it")
	oneOf(cmd, "kill", "no-kill")
	oneOf(cmd, "kill", "timeout")
	cmd.RunE = a.verb(func(ctx context.Context, _ *cobra.Command, args []string) error {
		return a.change(ctx, chosen(args), change{doing: "stopping", until: "stopped", do: func(ctx context.Context, e engine, name string) (*wire.Done, error) {
			return command(ctx, e, &wire.StopMachine{Request: request(), Name: name, TimeoutNanos: int64(limit), Kill: kill, NoKill: noKill})
		}})
	})
	return cmd
}
