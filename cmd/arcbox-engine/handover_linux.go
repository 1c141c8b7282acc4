package main

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/arcboxlabs/arcbox-engine/hv/process"
)

// handOverTime is how long an engine may take to end that gives way.
const handOverTime = 2 * endTime

// handOver has the engine give way that was started by hand and holds the lock, where
// this one is the service manager's: as the host boots, a command may be quicker than
// the manager, whose sockets then stand where that engine's were. Machines run on. It
// tells whether one ended.
func handOver(path string, log *slog.Logger) bool {
	var lock unix.Stat_t
	if unix.Lstat(path, &lock) != nil || !managed(os.Getpid()) {
		return false
	}
	holders, err := process.Holders(&lock)
	if err != nil {
		return false
	}
	ended := false
	for _, pid := range holders {
		ended = giveWay(pid, &lock, log) || ended
	}
	return ended
}

// giveWay ends one engine, if it is one that was started by hand.
func giveWay(pid int, lock *unix.Stat_t, log *slog.Logger) bool {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return false
	}
	defer func() { _ = unix.Close(fd) }()
	if !serves(pid) || managed(pid) || !process.Holds(pid, lock) { // of whom the descriptor is
		return false
	}
	log.Info("the engine that was started by hand gives way to the service", "pid", pid)
	if err := unix.PidfdSendSignal(fd, unix.SIGTERM, nil, 0); err != nil {
		return errors.Is(err, unix.ESRCH)
	}
	for end := time.Now().Add(handOverTime); ; { // readable = dead
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(max(0, time.Until(end)).Milliseconds())) //nolint:gosec // a descriptor
		if !errors.Is(err, unix.EINTR) {
			return n > 0
		}
	}
}

// managed tells whether a service manager started a process and listens for it.
func managed(pid int) bool {
	env := words(pid, "environ")
	return slices.ContainsFunc(env, func(v []byte) bool { return string(v) == "LISTEN_PID="+strconv.Itoa(pid) })
}

// serves tells whether a process is an engine at work, and not one that does a
// single thing to the journal or the machines, or a copy on its way to another program.
func serves(pid int) bool {
	argv := words(pid, "cmdline")
	if len(argv) == 0 || filepath.Base(string(argv[0])) != "arcbox-engine" {
		return false
	}
	parent := words(parentOf(pid), "cmdline")
	return (len(argv) == 1 || bytes.HasPrefix(argv[1], []byte("-"))) && !slices.ContainsFunc(argv, single) &&
		!slices.EqualFunc(argv, parent, bytes.Equal)
}

// single tells whether a word is the name of one of the engine's single tasks.
func single(word []byte) bool {
	return slices.Contains([]string{"journal", "stop-machines", "prepare", "completion", "help"}, string(word))
}

// words are the zero-ended strings of a process's file; nil where it is gone.
func words(pid int, file string) [][]byte {
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), file))
	if err != nil || len(data) == 0 {
		return nil
	}
	return bytes.Split(bytes.TrimSuffix(data, []byte{0}), []byte{0})
}

// parentOf is the process that started another; 0 = nobody knows.
func parentOf(pid int) int {
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0
	}
	fields := bytes.Fields(data[bytes.LastIndexByte(data, ')')+1:]) // its name may hold anything
	if len(fields) < 2 {
		return 0
	}
	parent, err := strconv.Atoi(string(fields[1]))
	if err != nil {
		return 0
	}
	return parent
}
