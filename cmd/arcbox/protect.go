package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

func newProtect(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "protect NAME...",
		Short: "Keep machines from being removed",
		Long: "Keep machines from being removed: arcbox rm is refused, with -f too, exit 7, until\n" +
			"arcbox unprotect. They can be started, stopped and changed as any other.",
		Example: "  arcbox protect web\n  arcbox list --filter protected=yes",
	}
	return a.protecting(cmd, "protecting", true)
}

func newUnprotect(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "unprotect NAME...",
		Short:   "Let machines be removed again that are protected",
		Long:    "Let machines be removed again that are protected. Nothing is removed by that.",
		Example: "  arcbox unprotect web && arcbox rm web",
	}
	return a.protecting(cmd, "unprotecting", false)
}

func (a *app) protecting(cmd *cobra.Command, doing string, on bool) *cobra.Command {
	chosen := a.machinesFlag(cmd, 1)
	cmd.RunE = a.verb(func(ctx context.Context, _ *cobra.Command, args []string) error {
		return a.change(ctx, chosen(args), change{doing: doing, do: func(ctx context.Context, e engine, name string) (*wire.Done, error) {
			return command(ctx, e, &wire.SetMachine{Request: request(), Name: name, Protect: &on})
		}})
	})
	return cmd
}
