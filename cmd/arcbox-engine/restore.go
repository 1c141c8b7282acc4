package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/arcboxlabs/arcbox-engine/actors"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/journal"
)

// restoreJournal puts a copy of a backup in the journal's place, which is kept
// beside it.
func restoreJournal(cmd *cobra.Command, args []string) error {
	h, err := findHome()
	if err != nil {
		return err
	}
	var last uint64
	kept, err := renewed{"restored", "replaced"}.journal(h, func(fresh string) (err error) {
		last, err = restoreInto(cmd.Context(), args[0], fresh)
		return err
	})
	if err != nil {
		return explain(h, err)
	}
	if kept != "" {
		kept = "; the one before is in " + kept
	}
	fmt.Fprintf(cmd.OutOrStdout(), "the journal of %s is in place, up to record %d%s\n", args[0], last, kept)
	return nil
}

// restoreInto verifies a backup and copies it, and gives up what was under way
// in it.
func restoreInto(ctx context.Context, from, fresh string) (last uint64, err error) {
	src, err := journal.OpenReadOnly(from, journal.Options{})
	if errors.Is(err, fs.ErrNotExist) {
		return 0, &actors.Refusal{Code: wire.Code_CODE_NOT_FOUND, Field: "dir", Message: err.Error(), Hint: "ls -la " + from}
	}
	if err != nil {
		return 0, err
	}
	b, err := src.Backup(ctx, fresh) // which verifies the copy
	if err = errors.Join(err, src.Close()); err != nil {
		return 0, err
	}
	j, err := journal.Open(fresh, journal.Options{})
	if err == nil {
		err = errors.Join(actors.Restored(j), j.Close())
	}
	if err != nil {
		return 0, errors.Join(err, os.RemoveAll(fresh))
	}
	return b.Last, nil
}
