package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

func newRestart(a *app) *cobra.Command {
	var kill bool
	stopLimit, startLimit := limitValue(defaultStopTime), limitValue(defaultStartTime)
	cmd := &cobra.Command{
		Use:   "restart [NAME...]",
		Short: "Stop machines and start them again",
		Long: "Stop machines (the default one where none is named) as arcbox stop does, start them again, and wait\n" +
			"until each is Running. A stopped machine is started. Ctrl-C detaches: the engine\n" +
			"goes on.",
	}
	chosen := a.machinesFlag(cmd, 0)
	cmd.Flags().Var(&stopLimit, "timeout", "time for the guest to shut down; past it it is killed")
	killFlag(cmd, &kill)
	addStartTimeout(cmd, &startLimit, "start-timeout")
	oneOf(cmd, "kill", "timeout")
	cmd.RunE = a.verb(func(ctx context.Context, _ *cobra.Command, args []string) error {
		return a.change(ctx, chosen(args), change{doing: "restarting", until: "running", do: func(ctx context.Context, e engine, name string) (*wire.Done, error) {
			return command(ctx, e, &wire.RestartMachine{
				Request: request(), Name: name, Kill: kill,
				TimeoutNanos: int64(stopLimit), StartTimeoutNanos: int64(startLimit),
			})
		}})
	})
	return cmd
}
