package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

func newRemove(a *app) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:        "rm NAME...",
		SuggestFor: []string{"destroy", "purge"},
		Aliases:    []string{"delete", "remove"},
		Short:      "Remove machines and their disks",
		Long: "Remove machines and all that belongs to them, for good. Only their history stays\n" +
			"in the journal. A machine that runs is removed with --force only, which kills it;\n" +
			"one that is protected (arcbox protect) not at all, exit 7.",
		Example: "  arcbox rm web\n  arcbox rm -f web db",
	}
	chosen := a.machinesFlag(cmd, 1)
	cmd.Flags().BoolVarP(&force, "force", "f", false, "also where it runs: kill it first")
	cmd.RunE = a.verb(func(ctx context.Context, _ *cobra.Command, args []string) error {
		return a.change(ctx, chosen(args), change{doing: "removing", do: func(ctx context.Context, e engine, name string) (*wire.Done, error) {
			return command(ctx, e, &wire.RemoveMachine{Request: request(), Name: name, Force: force})
		}})
	})
	return cmd
}
