package main

import (
	"context"

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
			return a.becomeEngine("journal", "recover")
		}),
	}
}
