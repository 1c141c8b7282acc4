package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/arcboxlabs/arcbox-engine/actors"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/cmd/internal/home"
	"github.com/arcboxlabs/arcbox-engine/journal"
)

// explain gives a failure of the data directory or of its journal the next
// thing to do. What it does not know it leaves as it is.
func explain(h home.Home, err error) error {
	var hint string
	_, known := errors.AsType[*actors.Refusal](err)
	_, damaged := errors.AsType[*journal.DamagedError](err)
	switch {
	case err == nil, known:
		return err
	case damaged:
		hint = "arcbox journal recover"
	case errors.Is(err, journal.ErrLocked):
		hint = "fuser -v " + h.Journal() + "/LOCK"
	case errors.Is(err, journal.ErrNewerFormat):
		hint = "use that arcbox-engine, or set " + home.Var + " to another directory"
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		hint = "df -h " + h.Data
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS), errors.Is(err, syscall.ENOTDIR), errors.Is(err, fs.ErrNotExist):
		hint = "set " + home.Var + " to a directory of your own that can be written"
	default:
		return err
	}
	return &actors.Refusal{Code: wire.Code_CODE_LACKING, Message: err.Error(), Hint: hint}
}

// findHome is where this engine's things lie.
func findHome() (home.Home, error) {
	h, err := home.Find(os.Getenv)
	return h, badUsage(err, home.Var+"=$HOME/.arcbox arcbox-engine")
}

// badUsage refuses what somebody typed.
func badUsage(err error, hint string) error {
	if err == nil {
		return nil
	}
	return &actors.Refusal{Code: wire.Code_CODE_BAD_INPUT, Message: err.Error(), Hint: hint}
}

// unserved is a failure of the sockets. What is not known to explain lies in the
// way.
func unserved(h home.Home, err error) error {
	if known, ok := errors.AsType[*actors.Refusal](explain(h, err)); ok {
		return known
	}
	return &actors.Refusal{Code: wire.Code_CODE_LACKING, Message: err.Error(), Hint: "ls -la " + h.Run}
}

// checkOwner refuses a data directory of another user's: what root writes
// there, its owner's engine could not read.
func checkOwner(dir string) error {
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it will be ours
	}
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(st.Uid) == os.Geteuid() {
		return nil
	}
	return &actors.Refusal{
		Code: wire.Code_CODE_UNSAFE, Field: home.Var, Hint: "set " + home.Var + " to a directory of your own, or ask as user " + fmt.Sprint(st.Uid),
		Message: fmt.Sprintf("data directory %s: it belongs to user %d, and an engine of user %d may use only its own", dir, st.Uid, os.Geteuid()),
	}
}

// lockWait is how long an engine waits for a journal that somebody else reads:
// arcbox journal does so while no engine runs.
const (
	lockWait = 5 * time.Second
	lockStep = 50 * time.Millisecond
)

// openJournal opens the journal, and waits for a reader of it to be done.
func openJournal(ctx context.Context, dir string, o journal.Options) (*journal.Journal, error) {
	limited, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	for {
		j, err := journal.Open(dir, o)
		if !errors.Is(err, journal.ErrLocked) {
			return j, err
		}
		select {
		case <-time.After(lockStep):
		case <-limited.Done():
			return nil, fmt.Errorf("%w for %s", err, lockWait)
		}
	}
}

// span is a run of records that are lost in the same way.
type span struct {
	first, last uint64
	what        string
}

func (s span) String() string {
	if s.first == s.last {
		return fmt.Sprintf("lost %d: %s", s.first, s.what)
	}
	return fmt.Sprintf("lost %d to %d: %s", s.first, s.last, s.what)
}

// spans puts together what was lost in a row: of a journal that lost a million
// records a person wants to read a line, not a million.
func spans(faults []journal.Fault) []span {
	var out []span
	for _, f := range faults {
		if n := len(out); n > 0 && out[n-1].last+1 == f.Seq && out[n-1].what == f.What {
			out[n-1].last = f.Seq
			continue
		}
		out = append(out, span{f.Seq, f.Seq, f.What})
	}
	return out
}
