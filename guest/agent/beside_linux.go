package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// BesideName is what the agent is called beside a distribution's init. systemd
// spares processes whose name begins so when it shuts down (it is how it knows
// those that a root file system needs), so the agent lives to the last moment.
const BesideName = "@arcbox-agent"

// legacy is what process 1 leaves to the agent beside it.
type legacy struct {
	Token  []byte           `json:"token"`
	SSH    sshFiles         `json:"ssh"`
	Phases map[string]int64 `json:"phases"`
	Path   string           `json:"path"` // of the init
	Kind   initKind         `json:"kind"`
	// Replays says that the machine's own disk had a log to be replayed.
	Replays bool         `json:"replays"`
	Shares  []wire.Share `json:"shares,omitempty"`
}

// The descriptors of the agent beside the init.
const (
	fdLegacy  = 3
	fdNotify  = 4 // where there is a systemd
	fdShares  = 5 // closed when the shares had their turn, where there are any
	maxLegacy = 64 << 10
)

// handOver starts the agent beside and becomes the image's init. It returns only
// where that fails.
func (m *machine) handOver() error {
	env := []string{"PATH=" + defaultPath, "HOME=/", "TERM=linux"}
	notify := -1
	if m.init.kind == initSystemd {
		var err error
		if notify, err = listenNotify(); err != nil {
			return fmt.Errorf("listen for %s to be ready: %w", m.init.path, err)
		}
		env = append(env, "NOTIFY_SOCKET="+notifySocket)
	}
	if err := m.startBeside(notify); err != nil {
		return fmt.Errorf("start the agent beside %s: %w", m.init.path, err)
	}
	if m.init.kind == initSystemd {
		for what, set := range map[string]func(string) error{"the agent's console": spareConsoles, "halt": haltPowersOff} {
			if err := set(systemUnits); err != nil {
				m.log.Warn("set up", "what", what, "err", err)
			}
		}
	}
	m.log.Info("handing over", "init", m.init.path, "kind", m.init.kind, "phases", m.phases.all())
	return fmt.Errorf("run %s: %w", m.init.path, unix.Exec(m.init.path, []string{m.init.path}, env))
}

// startBeside starts this program anew, in a session of its own. Its binary is
// removed by now, and lives on for as long as it runs. It returns when that has the
// shares mounted, or has given up.
func (m *machine) startBeside(notify int) error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	defer w.Close()
	mounted, turn, err := os.Pipe()
	if err != nil {
		return err
	}
	defer mounted.Close()
	files := []uintptr{null.Fd(), os.Stderr.Fd(), os.Stderr.Fd(), r.Fd(), null.Fd(), turn.Fd()}
	if notify >= 0 {
		files[fdNotify] = uintptr(notify)
	}
	left := legacy{Token: m.token, SSH: m.ssh, Phases: m.phases.all(), Path: m.init.path, Kind: m.init.kind, Replays: m.replays}
	if m.shares != nil {
		left.Shares = m.shares.list
	}
	_, err = syscall.ForkExec("/proc/self/exe", []string{BesideName}, &syscall.ProcAttr{
		Dir: "/", Env: []string{"PATH=" + defaultPath, "HOME=/root"},
		Files: files, Sys: &syscall.SysProcAttr{Setsid: true},
	})
	_ = turn.Close()
	if err != nil {
		return err
	}
	err = errors.Join(json.NewEncoder(w).Encode(left), w.Close()) // it reads to the end
	if err != nil || m.shares == nil {
		return err
	}
	if err := mounted.SetReadDeadline(time.Now().Add(2 * shareTime)); err != nil {
		return err
	}
	if _, err := mounted.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		m.log.Warn("share", "err", err)
	}
	return nil
}

// systemUnits are the units of this boot alone.
const systemUnits = "/run/systemd/system"

// spareConsoles keeps systemd from putting login prompts where nobody can type: on
// the console, and on the one that takes the agent's log. Without udev it would wait
// a minute and a half for their devices, and the boot for it.
func spareConsoles(units string) error {
	if err := os.MkdirAll(units, 0o755); err != nil {
		return err
	}
	var errs []error
	for _, console := range []string{"ttyS0", "ttyAMA0", "hvc0", "hvc1"} {
		err := os.Symlink("/dev/null", filepath.Join(units, "serial-getty@"+console+".service"))
		if !errors.Is(err, os.ErrExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// haltPowersOff makes systemd's halt its poweroff, as a busybox init's is: a halted
// kernel answers nobody, and nobody can tell it from one that hangs.
func haltPowersOff(units string) error {
	if err := os.MkdirAll(units, 0o755); err != nil {
		return err
	}
	err := os.Symlink("/lib/systemd/system/poweroff.target", filepath.Join(units, "halt.target"))
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	return err
}

// Beside is the agent beside the distribution's init, for as long as that lets it
// live.
func Beside(version string) {
	m := newMachine(version)
	m.args = parseArguments(oneLine("/proc/cmdline"))
	m.lines.open(m.args.log)
	if err := m.inherit(os.NewFile(fdLegacy, "legacy")); err != nil {
		m.complain(err)
		return
	}
	for _, fd := range []int{fdNotify, fdShares} {
		unix.CloseOnExec(fd)
	}
	turn := os.NewFile(fdShares, "shares")
	m.mountShares()
	_ = turn.Close()
	m.phases.Mark("agent")
	if m.args.fault(faultNoAgent) {
		select {}
	}
	m.watchButton()
	m.booted = make(chan struct{})
	go m.watchInit()
	m.serve(context.Background())
}

func (m *machine) inherit(f *os.File) error {
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxLegacy))
	if err != nil {
		return fmt.Errorf("what process 1 left: %w", err)
	}
	var l legacy
	if err := json.Unmarshal(text, &l); err != nil {
		return fmt.Errorf("what process 1 left: %w", err)
	}
	m.token, m.ssh, m.init = l.Token, l.SSH, distribution{l.Path, l.Kind}
	m.phases.at, m.replays = l.Phases, l.Replays
	if len(l.Shares) > 0 {
		m.shares = newShares(l.Shares)
	}
	return nil
}

// powerOffTime is how long a program may take to ask an init for the end.
const powerOffTime = 10 * time.Second

// powerOff asks the init to shut the machine down, in its own way.
func (d distribution) powerOff() error {
	switch d.kind {
	case initSystemd:
		const rtmin = 34 // as the C library has it
		return unix.Kill(1, rtmin+4)
	case initBusybox:
		return unix.Kill(1, unix.SIGUSR2)
	case initOther:
	}
	ctx, cancel := context.WithTimeout(context.Background(), powerOffTime)
	defer cancel()
	var errs error
	for _, words := range [][]string{{"openrc-shutdown", "-p", "now"}, {"poweroff"}, {"shutdown", "-h", "now"}} {
		path, err := exec.LookPath(words[0])
		if err == nil {
			err = exec.CommandContext(ctx, path, words[1:]...).Run()
		}
		if err == nil {
			return nil
		}
		errs = errors.Join(errs, err)
	}
	return errs
}
