package main

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/arcboxlabs/arcbox-engine/actors"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/cmd/internal/home"
	"github.com/arcboxlabs/arcbox-engine/fsm"
)

// realClock is the host's.
type realClock struct{ boot string }

// Now implements actors.Clock.
func (realClock) Now() time.Time { return time.Now().UTC() }

// Moment implements actors.Clock.
func (c realClock) Moment() fsm.Moment { return fsm.Moment{Boot: c.boot, Mono: mono()} }

// AfterFunc implements actors.Clock.
func (realClock) AfterFunc(d time.Duration, f func()) func() bool { return time.AfterFunc(d, f).Stop }

// lockHome makes this the only engine of its data directory, for as long as
// the returned file is open. Where there is one already, next is the command to try.
func lockHome(h home.Home, next string) (*os.File, error) {
	path := h.Lock()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close() // the refusal is what counts
		return nil, &actors.Refusal{Code: wire.Code_CODE_CONFLICT, Hint: next,
			Message: "an engine runs already for this data directory: it holds " + path}
	}
	return f, nil
}
