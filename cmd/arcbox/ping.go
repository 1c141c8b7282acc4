package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/arcboxlabs/arcbox-engine/guest"
)

func newPing(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "ping [NAME]", Short: "Ask a machine's agent for an answer", Args: named(0, 1), ValidArgsFunction: a.completeNames(1),
		Example: "  arcbox ping web",
	}
	cmd.RunE = a.verb(func(ctx context.Context, _ *cobra.Command, args []string) error {
		name := nameOf(args)
		ctx, cancel := context.WithTimeoutCause(ctx, askTime, errSilent(name))
		defer cancel()
		return a.withGuest(ctx, name, func(ctx context.Context, c *guest.Client) error {
			began := a.now()
			reply, err := c.Ping(ctx)
			if err != nil {
				return err
			}
			took := a.now().Sub(began)
			if a.json() {
				return a.printJSON(struct {
					Machine string  `json:"machine"`
					Version string  `json:"version"`
					Millis  float64 `json:"ms"`
				}{name, reply.GetVersion(), float64(took.Microseconds()) / 1000})
			}
			_, err = fmt.Fprintf(a.stdout, "%s answers: agent %s, %s\n", name, printable(reply.GetVersion()), took.Round(10*time.Microsecond))
			return err
		})
	})
	return cmd
}
