package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

func newClone(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "clone NAME NEW",
		Short: "Make a machine as another is, with a copy of its disk",
		Long: "Make a machine as another is that does not run, with a copy of its disk. It has an id, an\n" +
			"address and SSH keys of its own, and from its first start on a host name and machine-id of\n" +
			"its own; labels and shares it has as the other. What only one of the two can have is left\n" +
			"out, and said: ports, and disks that are written to. It is not protected, and not set up\n" +
			"again. On a file system that can (Btrfs, XFS, APFS) the two share what they have in\n" +
			"common; elsewhere what is in the disk is copied.\n\n" +
			"Meanwhile the other can't be started (exit 4). Ctrl-C gives it up; then, and where the\n" +
			"engine or this command is killed, or the disk gets full, nothing of the new one is left.",
		Example:           "  arcbox stop web && arcbox clone web web2 && arcbox start web web2",
		Args:              named(2, 2),
		ValidArgsFunction: a.completeNames(1),
		RunE: a.verb(func(ctx context.Context, _ *cobra.Command, args []string) error {
			return a.change(ctx, one(args[0], nil), change{doing: "cloning", ends: true, do: func(ctx context.Context, e engine, name string) (*wire.Done, error) {
				return command(ctx, e, &wire.CloneMachine{Request: request(), Name: name, NewName: args[1]})
			}})
		}),
	}
}
