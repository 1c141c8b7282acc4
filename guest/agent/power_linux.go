package agent

import (
	"bytes"
	"encoding/binary"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// killTime is how long processes may take to vanish once they were killed.
const killTime = 2 * time.Second

// endProcesses asks every process to end, and after the grace kills those
// that have not. Process 1 and the kernel's threads are not touched.
func endProcesses(grace time.Duration, log *slog.Logger) {
	for _, step := range []struct {
		sig  unix.Signal
		wait time.Duration
	}{{unix.SIGTERM, grace}, {unix.SIGKILL, killTime}} {
		n := countProcesses()
		if n == 0 {
			return
		}
		log.Info("ending processes", "count", n, "signal", unix.SignalName(step.sig))
		unix.Kill(-1, step.sig)     //nolint:errcheck // there may be none left
		unix.Kill(-1, unix.SIGCONT) //nolint:errcheck // as above; a stopped one can't end
		until := time.Now().Add(step.wait)
		for countProcesses() > 0 && time.Now().Before(until) {
			time.Sleep(5 * time.Millisecond)
		}
	}
}

// countProcesses counts what is neither process 1, nor the kernel's, nor
// ended already.
func countProcesses() int {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0
	}
	n := 0
	for _, path := range stats {
		if b, err := os.ReadFile(path); err == nil && path != "/proc/1/stat" && isProgram(string(b)) {
			n++
		}
	}
	return n
}

// isProgram reads a line of /proc/PID/stat. The name, in parentheses, may
// hold anything.
func isProgram(stat string) bool {
	const kernelThread = 0x00200000
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < 7 || fields[0] == "Z" || fields[0] == "X" {
		return false
	}
	flags, err := strconv.ParseUint(fields[6], 10, 64)
	return err == nil && flags&kernelThread == 0
}

// unmountAll unmounts the last mounted first; what is busy becomes read-only.
// The root, and what the kernel makes up, holds nothing to lose.
func unmountAll(log *slog.Logger) {
	table, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		log.Warn("unmount", "err", err)
		return
	}
	mounts := parseMounts(table)
	for i := len(mounts) - 1; i >= 0; i-- {
		on := mounts[i]
		err := unix.Unmount(on, unix.UMOUNT_NOFOLLOW)
		if err != nil {
			err = unix.Mount("", on, "", unix.MS_REMOUNT|unix.MS_RDONLY, "")
		}
		if err != nil {
			log.Warn("unmount", "on", on, "err", err)
		}
	}
	syncAll()
}

// syncAll writes down what the machine's own file systems hold. A share has nothing
// that its host has not, and who syncs one that is lost waits for ever, as sync(2)
// would.
func syncAll() {
	table, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return
	}
	for _, on := range parseMounts(table) {
		fd, err := unix.Open(on, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err == nil {
			_ = unix.Syncfs(fd) // whom should it be told?
			_ = unix.Close(fd)
		}
	}
}

// parseMounts gives the mount points that must be let go of, as mounted.
func parseMounts(table []byte) []string {
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	var out []string
	for line := range bytes.Lines(table) {
		fields := strings.Fields(string(line))
		if len(fields) < 3 {
			continue
		}
		switch fields[2] {
		case "rootfs", "proc", "sysfs", "devtmpfs", "devpts", "cgroup2", "virtiofs":
			continue
		}
		out = append(out, unescape.Replace(fields[1]))
	}
	return out
}

// powerOff does not return. Where the platform can't power off, a reset ends
// the VM as well.
func powerOff(reboot bool, log *slog.Logger) {
	syncAll()
	if !reboot {
		err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
		log.Error("power off", "err", err)
	}
	err := unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
	log.Error("restart", "err", err)
	os.Exit(1) // the kernel panics
}

// watchPowerButton calls pressed each time that a power button is.
func watchPowerButton(pressed func(), log *slog.Logger) {
	devices, err := filepath.Glob("/dev/input/event*")
	if err != nil || len(devices) == 0 {
		log.Debug("no power button", "err", err)
		return
	}
	for _, path := range devices {
		f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
		if err != nil {
			log.Warn("power button", "err", err)
			continue
		}
		go func() {
			defer f.Close()
			readKeys(f, pressed)
		}()
	}
}

// readKeys reads input events until there are no more: two times a word for
// the time, then type, code, value.
func readKeys(r io.Reader, pressed func()) {
	const size, keyEvent, keyPower = 24, 1, 116
	var event [size]byte
	for {
		if _, err := io.ReadFull(r, event[:]); err != nil {
			return
		}
		kind := binary.NativeEndian.Uint16(event[16:])
		code := binary.NativeEndian.Uint16(event[18:])
		value := binary.NativeEndian.Uint32(event[20:])
		if kind == keyEvent && code == keyPower && value == 1 {
			pressed()
		}
	}
}
