package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
)

func newJournalRecover(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "recover",
		Short: "Salvage a damaged journal into a new one",
		Long: "Salvage what can be read of a damaged journal into a new one, and list what is\n" +
			"lost. The damaged one is kept. The engine must be down.",
		Args: noArgs,
		RunE: a.verb(func(context.Context, *cobra.Command, []string) error {
			h, err := a.home()
			if err != nil {
				return err
			}
			path, err := findEngine(a.env)
			if err != nil {
				return err
			}
			if err := a.replace(path, []string{engineName, "journal", "recover"}, homeEnv(a.environ(), h)); err != nil {
				return fmt.Errorf("run %s: %w", path, err)
			}
			return nil
		}),
	}
}
