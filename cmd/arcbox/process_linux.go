package main

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// process is a process to wait for, held by a descriptor: its number may be
// given to another one, this can't be.
type process struct{ pidfd int }

// watchProcess holds on to a process that runs now.
func watchProcess(pid int) (*process, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, fmt.Errorf("process %d: %w", pid, err)
	}
	return &process{fd}, nil
}

// Wait waits until the process has ended, whether or not its parent looked.
func (p *process) Wait(ctx context.Context) error {
	for {
		ready := []unix.PollFd{{Fd: int32(p.pidfd), Events: unix.POLLIN}} //nolint:gosec // a descriptor
		n, err := unix.Poll(ready, 50)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil && !errors.Is(err, unix.EINTR):
			return fmt.Errorf("wait for a process: %w", err)
		case n > 0:
			return nil
		}
	}
}

// Close lets go of it.
func (p *process) Close() { _ = unix.Close(p.pidfd) }
