package qemu

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// fakeQEMU is a process that speaks QEMU's side of the wires. What it does
// stands in the kernel command line, as fake=NAME.
type fakeQEMU struct {
	qmp, console, log *os.File
	commands          *bufio.Scanner
}

// playQEMU is the main function of the fake; it returns the exit status.
func playQEMU(argv []string) int {
	if argv[2] == "guest=arcbox-probe" {
		return playProbe(filepath.Base(argv[0]))
	}
	f := fakeQEMU{
		qmp:     os.NewFile(fdQMP, "qmp"),
		console: os.NewFile(fdConsole, "console"),
		log:     os.NewFile(fdLog, "log"),
	}
	f.commands = bufio.NewScanner(f.qmp)
	_, script, _ := strings.Cut(argv[len(argv)-1], "fake=")
	switch script {
	case "dies":
		fmt.Fprintln(os.Stderr, "qemu: no machine of this kind")
		return 1
	case "dies-silent":
		return 7
	case "mute":
		f.hang()
	case "mute-flood":
		for n := 0; ; n++ {
			fmt.Fprintln(os.Stderr, "the same again and again")
			if n == 100_000 {
				fmt.Fprint(f.console, "flooded")
			}
		}
	case "refuses":
		f.line(`{"QMP": {}}`)
		f.commands.Scan()
		f.line(`{"id": 1, "error": {"class": "GenericError", "desc": "not today"}}`)
		f.hang()
	}
	f.line(`{"QMP": {"version": {}, "capabilities": ["oob"]}}`)
	if slices.Contains(argv, "-incoming") {
		f.until("migrate-incoming", func() {})
		f.event("MIGRATION", `{"status": "`+script+`"}`)
	}
	f.until("cont", nil)
	return f.play(script)
}

// playProbe is told by its own name what to do: a probe has no script.
func playProbe(name string) int {
	switch name {
	case "runs":
		return probeStatus
	case "aborts":
		fmt.Fprintln(os.Stderr, "error: failed to set MSR")
		return 134
	case "hangs":
		_, _ = io.Copy(io.Discard, os.NewFile(3, "kernel"))
		for { // another thread may take the signal, and this one run on until it has
			_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		}
	}
	return 0
}

// play goes on once the guest runs.
func (f *fakeQEMU) play(script string) int {
	switch script {
	case "off":
		f.shutdown("guest-shutdown")
	case "reset":
		f.shutdown("guest-reset")
	case "early-panic":
		fmt.Fprint(f.console, "[ 1.0] Kernel panic - not syncing: No working init found.\r\n[ 1.1] ---\r\n")
		f.shutdown("guest-reset")
	case "panic":
		fmt.Fprint(f.console, "[ 9.0] Kernel panic - not syncing: \x1b[31mbad\r\n")
		f.event("GUEST_PANICKED", `{"action": "poweroff"}`)
		f.event("STOP", `{}`)
		f.shutdown("guest-panic")
	case "signal":
		f.shutdown("host-signal")
	case "crash":
		fmt.Fprintln(os.Stderr, "qemu: internal error")
		return 3
	case "shot":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		f.hang()
	case "pause":
		f.event("BLOCK_IO_ERROR", `{"device": "d", "nospace": true, "reason": "No space left on device"}`)
		f.event("STOP", `{}`)
		f.event("RESUME", `{}`)
		f.shutdown("guest-shutdown")
	case "full":
		f.event("BLOCK_IO_ERROR", `{"device": "d", "nospace": true, "reason": "No space left on device"}`)
		f.event("STOP", `{}`)
		f.until("cont", nil)
		f.shutdown("guest-shutdown")
	case "full-held": // it is let go on behind a press of the power button, and not before
		f.until("stop", func() {})
		f.event("BLOCK_IO_ERROR", `{"device": "d", "nospace": true, "reason": "No space left on device"}`)
		f.event("STOP", `{}`)
		for range presses {
			f.commands.Scan()
			if !strings.Contains(f.commands.Text(), "system_powerdown") {
				return 4
			}
			f.line(fmt.Sprintf(`{"return": {}, "id": %d}`, idOf(f.commands.Bytes())))
		}
		f.until("cont", nil)
		f.shutdown("guest-shutdown")
	case "saves":
		f.unplug()
		f.until("migrate", func() {})
		f.event("STOP", `{}`)
		f.event("MIGRATION", `{"status": "completed"}`)
		f.hang()
	case "save-fails":
		f.unplug()
		f.until("migrate", func() {})
		f.event("STOP", `{}`)
		f.event("MIGRATION", `{"status": "failed"}`)
		f.commands.Scan()
		f.line(fmt.Sprintf(`{"return": {"error-desc": "no space left"}, "id": %d}`, idOf(f.commands.Bytes())))
		f.until("device_add", func() {})
		f.until("cont", nil)
		f.shutdown("guest-shutdown")
	case "unplugs-late":
		f.until("device_del", func() {})
		fmt.Fprint(f.console, "not now")
		f.until("system_powerdown", func() {})
		f.event("DEVICE_DELETED", `{"device": "vsock"}`)
		f.until("device_add", func() {})
		f.shutdown("guest-shutdown")
	case "streams":
		fmt.Fprint(f.console, strings.Repeat("console ", 100_000))
		fmt.Fprint(f.log, strings.Repeat("agent ", 100_000))
		fmt.Fprint(os.Stderr, strings.Repeat("qemu\n", 100_000))
		f.shutdown("guest-shutdown")
	case "reboots":
		f.until("set-action", func() {})
		for range 3 * maxEvents {
			f.event("RESET", `{"guest": true, "reason": "guest-reset"}`)
		}
		fmt.Fprint(f.console, "all sent")
		f.hang()
	case "button":
		f.until("system_powerdown", func() {})
		f.shutdown("guest-shutdown")
	case "unanswered":
		f.until("system_powerdown", nil)
		f.hang()
	case "gibberish":
		f.line(`{"QMP": `)
		f.hang()
	case "endless-line":
		_, _ = io.WriteString(f.qmp, strings.Repeat("x", 2*maxQMPLine))
		f.hang()
	case "environment":
		fmt.Fprint(f.console, strings.Join(os.Environ(), " "))
		f.shutdown("guest-shutdown")
	default:
		f.hang()
	}
	return 0
}

// until answers commands up to the named one, and that one too unless answer
// is nil and it is not cont.
func (f *fakeQEMU) until(name string, answer func()) {
	for f.commands.Scan() {
		var c struct {
			Execute string `json:"execute"`
			ID      uint64 `json:"id"`
		}
		if json.Unmarshal(f.commands.Bytes(), &c) != nil {
			os.Exit(9)
		}
		if c.Execute != name || answer != nil || name == "cont" {
			f.line(fmt.Sprintf(`{"return": {}, "id": %d}`, c.ID))
		}
		if c.Execute == name {
			if name == "cont" {
				f.event("RESUME", `{}`)
			}
			return
		}
	}
	syscall.Exit(0)
}

func (f *fakeQEMU) unplug() {
	f.until("device_del", func() {})
	f.event("DEVICE_DELETED", `{"path": "/machine/peripheral/vsock/virtio-backend"}`)
	f.event("DEVICE_DELETED", `{"device": "vsock"}`)
}

// presses is how often a guest that is held still is asked to shut down.
const presses = 50

func idOf(command []byte) uint64 {
	var c struct {
		ID uint64 `json:"id"`
	}
	if json.Unmarshal(command, &c) != nil {
		os.Exit(9)
	}
	return c.ID
}

func (f *fakeQEMU) line(text string) { fmt.Fprint(f.qmp, text+"\r\n") }

func (f *fakeQEMU) event(name, data string) {
	f.line(`{"timestamp": {"seconds": 1795479434, "microseconds": 5}, "event": "` + name + `", "data": ` + data + `}`)
}

func (f *fakeQEMU) shutdown(reason string) {
	f.event("SHUTDOWN", `{"guest": true, "reason": "`+reason+`"}`)
}

// hang waits until it is killed, or until the test is gone.
func (f *fakeQEMU) hang() {
	_, _ = io.Copy(io.Discard, os.NewFile(fdVsock, "vsock"))
	syscall.Exit(0)
}
