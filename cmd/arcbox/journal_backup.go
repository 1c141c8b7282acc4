package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

func newJournalBackup(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "backup DIR",
		Short: "Copy the journal while the engine runs, and verify the copy",
		Long: "Copy the journal into DIR, a directory of the engine's host that is empty or not\n" +
			"there, open the copy and verify every record of it. The engine goes on meanwhile. A\n" +
			"copy that fails is removed. Disks of machines are not in it. docs/journal.md says\n" +
			"how it is put back.",
		Example: "  arcbox journal backup /backups/monday",
		Args:    oneDir,
		RunE: a.verb(func(ctx context.Context, _ *cobra.Command, args []string) error {
			dir, err := hostPath(args[0], a.isFar())
			if err != nil {
				return badInput("dir", "%s: %v", shorten(args[0], 200), err)
			}
			e, err := a.history(ctx)
			if err != nil {
				return err
			}
			defer e.Close()
			b, err := askLong[*wire.BackedUp](ctx, e, &wire.BackupJournal{Dir: dir})
			if err != nil {
				return err
			}
			return a.printBackup(b)
		}),
	}
}

func oneDir(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) == 0 || args[0] == "":
		return badInput("dir", "%s: a directory is missing", cmd.CommandPath())
	case len(args) > 1:
		return badInput("", "%s: %d arguments, at most 1", cmd.CommandPath(), len(args))
	}
	return nil
}

type backupJSON struct {
	Dir     string `json:"dir"`
	Last    uint64 `json:"last"`
	Records uint64 `json:"records"`
	Bytes   uint64 `json:"bytes"`
}

func (a *app) printBackup(b *wire.BackedUp) error {
	if a.json() {
		return a.printJSON(backupJSON{b.GetDir(), b.GetLast(), b.GetRecords(), b.GetBytes()})
	}
	if a.quiet {
		return nil
	}
	_, err := fmt.Fprintf(a.stdout, "%s holds %d records up to %d, %.1f MiB, and was verified\n",
		printable(b.GetDir()), b.GetRecords(), b.GetLast(), float64(b.GetBytes())/mib)
	return err
}
