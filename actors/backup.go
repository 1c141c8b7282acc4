package actors

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"google.golang.org/protobuf/proto"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/fsm"
	"github.com/arcboxlabs/arcbox-engine/journal"
)

// backup copies the journal into a directory of the engine's host.
func backup(ctx context.Context, s *shared, dir string) (proto.Message, error) {
	if !filepath.IsAbs(dir) || filepath.Clean(dir) != dir {
		return nil, &Refusal{Code: wire.Code_CODE_BAD_INPUT, Field: "dir", Hint: "arcbox journal backup --help",
			Message: fmt.Sprintf("directory %q: an absolute path without . and .. is needed", clip(dir, 80))}
	}
	b, err := s.Journal.Backup(ctx, dir)
	switch {
	case errors.Is(err, journal.ErrNotEmpty):
		return nil, &Refusal{Code: wire.Code_CODE_CONFLICT, Field: "dir", Hint: "ls -la " + dir, Message: err.Error()}
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return nil, &Refusal{Code: wire.Code_CODE_BAD_INPUT, Field: "dir", Hint: "ls -la " + filepath.Dir(dir), Message: err.Error()}
	case err != nil:
		return nil, &Refusal{Code: wire.Code_CODE_FAILED, Hint: "arcbox journal verify", Message: err.Error()}
	}
	return &wire.BackedUp{Dir: dir, Last: b.Last, Records: b.Records, Bytes: b.Bytes}, nil
}

// Restored prepares a journal that was put back for the engine that opens it
// next: a stop that was under way when it was backed up was of a time that is
// over, and must not end a VM that runs now.
func Restored(j *journal.Journal) error {
	for _, m := range j.Machines() {
		if m.Damaged || !fsm.May(m.State, fsm.KindStopAbandoned) {
			continue
		}
		_, err := j.Append(fsm.Record{
			Machine: m.ID, Kind: fsm.KindStopAbandoned, Principal: "engine",
			Fact: &fsm.StopAbandonedFact{Why: "the journal was restored from a backup that was made in the middle of it"},
		})
		if err != nil {
			return fmt.Errorf("give up the stop of %s: %w", m.Name, err)
		}
	}
	return nil
}
