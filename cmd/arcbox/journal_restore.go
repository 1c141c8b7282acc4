package main

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"
)

func newJournalRestore(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "restore DIR",
		Short: "Put a backup in the journal's place; the present one is kept",
		Long: "Verify a backup, and put a copy of it in the place of the journal, which is kept\n" +
			"beside it. The engine must be down; machines may run. No VM comes to harm: the next\n" +
			"engine adopts those that it knows, and leaves the others running (see\n" +
			"docs/journal.md).",
		Example: "  arcbox engine stop\n  arcbox journal restore /backups/monday\n  arcbox engine start",
		Args:    oneDir,
		RunE: a.verb(func(_ context.Context, _ *cobra.Command, args []string) error {
			dir, err := filepath.Abs(args[0])
			if err != nil {
				return err
			}
			return a.becomeEngine("journal", "restore", dir)
		}),
	}
}

// becomeEngine replaces this command by the engine's binary, where what is to be
// done is done while no engine runs.
func (a *app) becomeEngine(args ...string) error {
	h, err := a.home()
	if err != nil {
		return err
	}
	path, err := findEngine(a.env)
	if err != nil {
		return err
	}
	if err := a.replace(path, append([]string{engineName}, args...), homeEnv(a.environ(), h)); err != nil {
		return fmt.Errorf("run %s: %w", path, err)
	}
	return nil
}
