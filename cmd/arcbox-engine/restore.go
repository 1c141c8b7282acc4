package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/arcboxlabs/arcbox-engine/actors"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/cmd/internal/home"
	"github.com/arcboxlabs/arcbox-engine/journal"
)

// restoreJournal puts a copy of a backup in the journal's place, which is kept
// beside it.
func restoreJournal(cmd *cobra.Command, args []string) error {
	h, err := findHome()
	if err != nil {
		return err
	}
	if err := checkOwner(h.Data); err != nil {
		return explain(h, err)
	}
	if err := os.MkdirAll(h.Data, 0o700); err != nil {
		return explain(h, err)
	}
	lock, err := lockHome(h)
	if err != nil {
		return explain(h, err)
	}
	defer lock.Close()
	stamp := time.Now().UTC().Format("20060102T150405Z")
	fresh := filepath.Join(h.Data, "journal.restored-"+stamp)
	last, err := restoreInto(cmd.Context(), args[0], fresh)
	if err != nil {
		return explain(h, err)
	}
	kept, err := swap(h, fresh, stamp)
	if err != nil {
		return err
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

// swap puts a new journal in the old one's place.
func swap(h home.Home, fresh, stamp string) (kept string, err error) {
	old := filepath.Join(h.Data, "journal.replaced-"+stamp)
	err = os.Rename(h.Journal(), old)
	switch {
	case err == nil:
		kept = "; the one before is in " + old
	case !errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("put the old journal aside: %w", err)
	}
	if err := os.Rename(fresh, h.Journal()); err != nil {
		return "", fmt.Errorf("put the journal in place: %w", err)
	}
	return kept, nil
}
