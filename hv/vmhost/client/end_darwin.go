package client

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// probeTime bounds a connection that is made only to ask who listens.
const probeTime = 500 * time.Millisecond

// killListener kills who listens on the VM host's socket. There is no pidfd
// here: the pid is asked for twice, the kill follows at once.
func killListener(ctx context.Context, p Place) (bool, error) {
	pid, err := peer(ctx, p)
	if err != nil {
		return false, err
	}
	again, err := peer(ctx, p)
	if err != nil || again != pid || pid <= 1 || pid == os.Getpid() {
		return false, errors.Join(fmt.Errorf("process %d, then %d listens: not killed", pid, again), err)
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
		return false, fmt.Errorf("kill %d: %w", pid, err)
	}
	return true, nil
}

func peer(ctx context.Context, p Place) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	c, err := Connect(p).connect(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { _ = c.Close() }()
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var pid int
	var pidErr error
	if err := raw.Control(func(fd uintptr) {
		pid, pidErr = unix.GetsockoptInt(int(fd), unix.SOL_LOCAL, unix.LOCAL_PEERPID)
	}); err != nil {
		return 0, err
	}
	return pid, pidErr
}

// killHolders has no way to ask here. A VM of the framework lives in the
// process that listens, so there is nobody else.
func killHolders(_ context.Context, _ Place, before error) (bool, error) {
	return false, before
}
