package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/arcboxlabs/arcbox-engine/actors"
	"github.com/arcboxlabs/arcbox-engine/actors/endpoint"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/cmd/internal/home"
	"github.com/arcboxlabs/arcbox-engine/fsm"
)

// stopSlack is what it takes beside the guests' time: to look at each VM host,
// and to see those that are killed gone.
const stopSlack = 20 * time.Second

// stopMachinesCommand stops the machines of an engine that does not run, as the
// host goes down: the service manager starts none by then, and holds the sockets.
func stopMachinesCommand() *cobra.Command {
	var limit time.Duration
	s := settings{allowSim: true} // they run already
	cmd := &cobra.Command{
		Use: "stop-machines", Short: "Stop all machines, where no engine runs; for the host's shutdown", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			h, err := findHome()
			if err != nil {
				return err
			}
			s.work = func(ctx context.Context, _ home.Home, engine *actors.Engine, _ *endpoint.Tickets, _ settings, log *slog.Logger) error {
				ctx, cancel := context.WithTimeout(ctx, limit+stopSlack)
				defer cancel()
				log.Info("the host goes down: machines are stopped", "time", limit)
				_, err := askSupervisor[*wire.Done](ctx, engine.System(), &wire.StopEngine{
					Machines: true, TimeoutNanos: int64(limit), Reason: string(fsm.ReasonHostShutdown),
				})
				return err
			}
			return serve(cmd.Context(), h, s)
		},
	}
	cmd.Flags().DurationVar(&limit, "timeout", time.Minute, "time for the guests to shut down; past it they are killed")
	return cmd
}
