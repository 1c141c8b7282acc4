package client

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/arcboxlabs/arcbox-engine/hv/process"
)

// holdPause is between two looks at who holds the lock. A process that is
// between fork and exec has a copy of every descriptor, and is not to be
// killed for it.
const holdPause = 20 * time.Millisecond

// probeTime bounds a connection that is made only to ask who listens.
const probeTime = 500 * time.Millisecond

// killListener kills who listens on the VM host's socket.
func killListener(ctx context.Context, p Place) (bool, error) {
	fd, err := listenerPidfd(ctx, p)
	if err != nil {
		return false, err
	}
	defer func() { _ = unix.Close(fd) }()
	return kill(ctx, fd)
}

// listenerPidfd asks the kernel for the process that listens.
func listenerPidfd(ctx context.Context, p Place) (int, error) {
	pid, fd, err := peer(ctx, p)
	if err != nil {
		return -1, err
	}
	if pid == os.Getpid() || pid <= 1 {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
		return -1, fmt.Errorf("process %d listens: not killed", pid)
	}
	if fd >= 0 {
		return fd, nil
	}
	// Before Linux 6.5: name the process by its pid, then ask again, since the
	// pid may have become another's in between.
	fd, err = unix.PidfdOpen(pid, 0)
	if err != nil {
		return -1, fmt.Errorf("pidfd of %d: %w", pid, err)
	}
	again, other, err := peer(ctx, p)
	if other >= 0 {
		_ = unix.Close(other)
	}
	if err != nil || again != pid {
		_ = unix.Close(fd)
		return -1, errors.Join(errors.New("the listener changed"), err)
	}
	return fd, nil
}

// peer connects and gives the listener's pid and, where the kernel has one,
// pidfd (else -1).
func peer(ctx context.Context, p Place) (pid, pidfd int, err error) {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	c, err := Connect(p).connect(ctx)
	if err != nil {
		return 0, -1, err
	}
	defer func() { _ = c.Close() }()
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, -1, err
	}
	var cred *unix.Ucred
	var credErr error
	pidfd = -1
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		if n, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PEERPIDFD); err == nil {
			pidfd = n
			unix.CloseOnExec(pidfd)
		}
	}); err != nil {
		return 0, -1, err
	}
	if credErr != nil {
		if pidfd >= 0 {
			_ = unix.Close(pidfd)
		}
		return 0, -1, credErr
	}
	return int(cred.Pid), pidfd, nil
}

// kill sends SIGKILL and waits until the process is dead. A process that is
// stopped dies of it too.
func kill(ctx context.Context, pidfd int) (bool, error) {
	err := unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0)
	if errors.Is(err, unix.ESRCH) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("kill: %w", err)
	}
	for ctx.Err() == nil { // readable = dead
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, 50)
		if n > 0 || (err != nil && !errors.Is(err, unix.EINTR)) {
			break
		}
	}
	return true, nil
}

// killHolders kills every process that has the machine's lock file open,
// locked, but this one.
func killHolders(ctx context.Context, p Place, before error) (bool, error) {
	var lock unix.Stat_t
	if err := unix.Lstat(p.lockPath(), &lock); err != nil {
		return false, errors.Join(before, fmt.Errorf("lock: %w", err))
	}
	holders, err := process.Holders(&lock)
	if err != nil {
		return false, errors.Join(before, err)
	}
	pidfds := map[int]int{}
	for _, pid := range holders {
		if fd, err := unix.PidfdOpen(pid, 0); err == nil {
			pidfds[pid] = fd
			defer func() { _ = unix.Close(fd) }()
		}
	}
	if len(pidfds) == 0 {
		return false, errors.Join(before, errors.New("nobody to be seen holds the lock"))
	}
	if err := pause(ctx, holdPause); err != nil {
		return false, errors.Join(before, err)
	}
	killed := false
	for pid, fd := range pidfds {
		if !process.Holds(pid, &lock) {
			continue
		}
		ok, err := kill(ctx, fd)
		killed, before = killed || ok, errors.Join(before, err)
	}
	return killed, before
}
