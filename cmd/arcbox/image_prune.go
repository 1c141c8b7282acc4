package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/arcboxlabs/arcbox-engine/guest/image"
)

func newImagePrune(a *app) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "Remove images that have no name any more",
		Long: "Remove the images that no machine uses and that have no name any more, because a\n" +
			"newer one has it. With --all, those with a name go too; what was imported is then\n" +
			"gone for good.",
		Args: noArgs,
	}
	cmd.Flags().BoolVarP(&all, "all", "a", false, "also images that have a name")
	cmd.RunE = a.imageVerb(func(ctx context.Context, s *image.Store, _ []string) error {
		done, err := s.Prune(ctx, all, a.imageUsers(ctx))
		if printErr := a.printRemoved(done); printErr != nil {
			return printErr
		}
		return err
	})
	return cmd
}
