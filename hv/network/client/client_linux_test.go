package client

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// peerPid is who is at the other end of a socket, 0 = nobody knows.
func peerPid(fd int) int {
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return 0
	}
	return int(cred.Pid)
}

// A process that does not answer is killed and replaced.
func TestMuteProcess(t *testing.T) {
	r := newRig(t)
	v := r.vm("a")
	pid := r.lives(v)
	if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for stat := ""; !strings.Contains(stat, ") T "); { // it takes a moment
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			t.Fatal(err)
		}
		stat = string(b)
	}
	r.engine()
	r.net.Set(v.Machine)
	r.await("the link", "a", linked)
	if r.pid() == pid {
		t.Error("it is the same process")
	}
}

// Without machines the process ends, and comes back with the next.
func TestProcessEndsByItself(t *testing.T) {
	r := newRig(t)
	v := r.vm("a")
	pid := r.lives(v)
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(fd) }()
	r.net.Drop("a")
	if _, known := r.net.State("a"); known {
		t.Error("it is known still")
	}
	ended := 0
	for err = unix.EINTR; errors.Is(err, unix.EINTR); {
		ended, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(patience.Milliseconds()))
	}
	if ended != 1 || err != nil {
		t.Fatalf("it lives on: %v", err)
	}
	if again := r.lives(v); again == pid {
		t.Error("it is the same process")
	}
}
