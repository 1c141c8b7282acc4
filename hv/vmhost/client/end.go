package client

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// endPause is between two rounds of End.
const endPause = 20 * time.Millisecond

// End kills the VM host of a place, whatever state it is in, and returns the
// lock once it is free. It trusts no stored pid: it kills who listens on the
// VM host's socket, by the kernel's word, and, where nobody listens, who holds
// the lock (Linux); both again until the lock is free or ctx is over.
func End(ctx context.Context, p Place) (*Lock, error) {
	for {
		lock, err := tryLock(p)
		if !errors.Is(err, ErrHeld) {
			return lock, err
		}
		killed, killErr := killListener(ctx, p)
		if !killed {
			killed, killErr = killHolders(ctx, p, killErr)
		}
		if killed {
			if lock, err = TakeLock(ctx, p); !errors.Is(err, ErrHeld) {
				return lock, err
			}
		}
		if pauseErr := pause(ctx, endPause); pauseErr != nil {
			return nil, fmt.Errorf("end: %w", errors.Join(err, killErr, pauseErr))
		}
	}
}
