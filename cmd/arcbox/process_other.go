//go:build unix && !linux

package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"
)

// process is a process to wait for.
type process struct{ pid int }

// watchProcess holds on to a process that runs now.
func watchProcess(pid int) (*process, error) {
	if err := syscall.Kill(pid, 0); err != nil && !errors.Is(err, syscall.EPERM) {
		return nil, fmt.Errorf("process %d: %w", pid, err)
	}
	return &process{pid}, nil
}

// Wait waits until the process has ended.
func (p *process) Wait(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if err := syscall.Kill(p.pid, 0); errors.Is(err, syscall.ESRCH) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Close lets go of it.
func (p *process) Close() {}
