package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/arcboxlabs/arcbox-engine/guest"
)

// agentTime bounds a question to an agent, where nothing else was asked for.
const agentTime = 5 * time.Second

type pingJSON struct {
	Name         string    `json:"name"`
	RoundTripNS  int64     `json:"round_trip_ns"`
	AgentVersion string    `json:"agent_version"`
	GuestTime    time.Time `json:"guest_time"`
}

func newPing(a *app) *cobra.Command {
	limit := limitValue(agentTime)
	cmd := &cobra.Command{
		Use:               "ping [NAME]",
		Short:             "Ask a machine's agent whether it answers; exit 5 where it does not",
		Args:              named(0, 1),
		ValidArgsFunction: a.completeNames(1),
	}
	cmd.Flags().Var(&limit, "timeout", "how long to wait for the answer")
	cmd.RunE = a.verb(func(ctx context.Context, _ *cobra.Command, args []string) error {
		name, err := a.nameOf(args)
		if err != nil {
			return err
		}
		ctx, cancel := withAgentTime(ctx, name, time.Duration(limit))
		defer cancel()
		return a.withGuest(ctx, name, func(ctx context.Context, c *guest.Client) error {
			began := time.Now() // the monotonic clock
			reply, err := c.Ping(ctx)
			if err != nil {
				return err
			}
			out := pingJSON{name, int64(time.Since(began)), reply.GetVersion(), time.Unix(0, reply.GetUnixNanos()).UTC()}
			if a.json() {
				return a.printJSON(out)
			}
			if a.quiet {
				return nil
			}
			_, err = fmt.Fprintf(a.stdout, "%s: the agent %s answered in %s\n", name, printable(out.AgentVersion),
				time.Duration(out.RoundTripNS).Round(10*time.Microsecond))
			return err
		})
	})
	return cmd
}
