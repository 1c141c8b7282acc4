package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

func newMan(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "man DIR",
		Short: "Write the manual pages of all commands into a directory",
		Long: "Write the manual pages of all commands into a directory, which is made where it is\n" +
			"missing: arcbox.1, arcbox-list.1 and so on. They say what arcbox help says. Their date\n" +
			"is today, or SOURCE_DATE_EPOCH.",
		Example: "  arcbox man ~/.local/share/man/man1 && man arcbox-list",
		Args:    cobra.ExactArgs(1),
		Hidden:  true,
		RunE: a.verb(func(_ context.Context, cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil { //nolint:gosec // manual pages are for everybody
				return fmt.Errorf("manual pages: %w", err)
			}
			root := cmd.Root()
			everywhere(root, func(c *cobra.Command) { c.DisableAutoGenTag = true }) // no line of its own about who made it
			if err := doc.GenManTree(root, &doc.GenManHeader{Section: "1", Source: "arcbox", Manual: "ArcBox engine"}, args[0]); err != nil {
				return fmt.Errorf("manual pages: %w", err)
			}
			a.note("the pages are in %s", args[0])
			return nil
		}),
	}
}

func everywhere(cmd *cobra.Command, do func(*cobra.Command)) {
	do(cmd)
	for _, c := range cmd.Commands() {
		everywhere(c, do)
	}
}
