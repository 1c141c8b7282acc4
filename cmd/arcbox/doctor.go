package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/cmd/internal/home"
	"github.com/arcboxlabs/arcbox-engine/guest/boot"
)

// The grades of findings.
const (
	gradeOK      = "ok"
	gradeWarning = "warning"
	gradeError   = "error"
)

// What is too little.
const (
	spaceError, spaceWarning = 1 << 30, 10 << 30
	filesWarning             = 4096
)

// finding is one thing that was looked at.
type finding struct {
	What   string `json:"what"`
	Grade  string `json:"grade"`
	Found  string `json:"found"`
	Remedy string `json:"remedy,omitempty"`
}

func ok(what, found string) finding { return finding{what, gradeOK, found, ""} }

func newDoctor(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Look for what keeps machines from running on this host; exit 1 with errors",
		Long: "Look at this host and its engine's directories, and tell what is wrong, each with its\n" +
			"remedy. Nothing is changed and no engine is started. Warnings leave the exit code 0.",
		Example: "  arcbox doctor\n  arcbox doctor --format json",
		Args:    noArgs,
		RunE: a.verb(func(ctx context.Context, _ *cobra.Command, _ []string) error {
			h, err := a.home()
			if err != nil {
				return err
			}
			found := slices.Concat(
				[]finding{a.seeEngine(ctx, h), a.seeService(ctx), seeKVM("/dev/kvm"), a.seeQEMU(ctx), seeProgram("virtiofsd", "-v needs it: apt-get install virtiofsd", "/usr/libexec/virtiofsd", "/usr/lib/qemu/virtiofsd")},
				[]finding{seeForeign(h), seeBoot(h), seeSpace(h.Data), seeFiles(), seeClock(a.now())},
				seeModes(h.Data, h.Run, h.Log), a.seeMachines(ctx, h),
			)
			return a.printFindings(found)
		}),
	}
}

func (a *app) printFindings(found []finding) error {
	rows, bad := make([][]string, len(found)), false
	for i, f := range found {
		bad = bad || f.Grade == gradeError
		rows[i] = []string{f.Grade, f.What, f.Found, f.Remedy}
	}
	var err error
	if a.json() {
		err = a.printJSON(found)
	} else {
		err = a.printTable([]string{"GRADE", "WHAT", "FOUND", "REMEDY"}, rows)
	}
	if err == nil && bad {
		return exitWith(exitGeneral)
	}
	return err
}

func (a *app) seeEngine(ctx context.Context, h home.Home) finding {
	if info := a.engineInfo(ctx); info != nil {
		return ok("engine", fmt.Sprintf("%s, pid %d", info.GetVersion(), info.GetPid()))
	}
	if path, err := findEngine(a.env); err != nil {
		return finding{"engine", gradeError, "none runs, and none can be started", understood(err).hint}
	} else if _, err := os.Lstat(h.Socket()); errors.Is(err, fs.ErrNotExist) {
		return ok("engine", "none runs; "+path+" is started where it is needed")
	}
	return finding{"engine", gradeWarning, "nobody answers on " + h.Socket(), "arcbox engine start; its log is " + h.EngineLog()}
}

func seeKVM(path string) finding {
	f, err := os.OpenFile(path, os.O_RDWR, 0) //nolint:gosec // a device
	switch {
	case err == nil:
		_ = f.Close()
		return ok("kvm", path+" can be opened; whether it runs guests is known after the first start (ACCEL in arcbox inspect)")
	case errors.Is(err, fs.ErrPermission):
		return finding{"kvm", gradeWarning, path + " is not yours to open: guests run in software, many times slower", "sudo usermod -aG kvm $USER, and log in anew"}
	}
	return finding{"kvm", gradeWarning, fmt.Sprintf("%s: %v: guests run in software, many times slower", path, rootCause(err)), "modprobe kvm_intel or kvm_amd; in a VM, nested virtualization has to be on"}
}

func (a *app) seeQEMU(ctx context.Context) finding {
	name := a.env("ARCBOX_QEMU")
	if name == "" {
		name = "qemu-system-x86_64"
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return finding{"qemu", gradeError, name + " is not there", "apt-get install qemu-system-x86, or set ARCBOX_QEMU"}
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "--version").Output() //nolint:gosec // the user's own
	if err != nil {
		return finding{"qemu", gradeError, fmt.Sprintf("%s --version: %v", path, err), "apt-get install --reinstall qemu-system-x86"}
	}
	first, _, _ := strings.Cut(string(out), "\n")
	return ok("qemu", first)
}

func seeProgram(name, remedy string, places ...string) finding {
	for _, p := range append([]string{name}, places...) {
		if path, err := exec.LookPath(p); err == nil {
			return ok(name, path)
		}
	}
	return finding{name, gradeWarning, "not there", remedy}
}

// foreigners are the programs that run machines of each architecture, and the packages
// that have them.
var foreigners = map[string]struct{ arch, program, remedy string }{
	"amd64": {"arm64", "qemu-system-aarch64", "apt-get install qemu-system-arm"},
	"arm64": {"amd64", "qemu-system-x86_64", "apt-get install qemu-system-x86"},
}

// seeForeign looks for what machines of the other architecture need. Who has none needs
// none of it.
func seeForeign(h home.Home) finding {
	f := foreigners[runtime.GOARCH]
	path, err := exec.LookPath(f.program)
	if err != nil {
		return ok(f.arch, fmt.Sprintf("%s is not there, which machines of %s need (%s)", f.program, f.arch, f.remedy))
	}
	assets, err := boot.Find(f.arch, h.BootDirs()...)
	if err != nil {
		return ok(f.arch, fmt.Sprintf("%s; no kernel, which machines of %s need (./task assets-%s)", path, f.arch, f.arch))
	}
	return ok(f.arch, path+", kernel "+assets.Release)
}

// lacking tells of a machine whose architecture this host has no program for.
func lacking(m *wire.Machine) (finding, bool) {
	f := foreigners[runtime.GOARCH]
	if m.GetSpec().GetArch() != f.arch {
		return finding{}, false
	}
	_, err := exec.LookPath(f.program)
	return finding{f.arch, gradeError, fmt.Sprintf("%s can't start: it is %s, and %s is not there", m.GetName(), f.arch, f.program), f.remedy}, err != nil
}

func seeBoot(h home.Home) finding {
	assets, err := boot.Find(runtime.GOARCH, h.BootDirs()...)
	if err != nil {
		return finding{"kernel", gradeError, err.Error(), "arcbox-engine prepare"}
	}
	return ok("kernel", assets.Release)
}

func seeSpace(dir string) finding {
	var st syscall.Statfs_t
	for syscall.Statfs(dir, &st) != nil && dir != "/" {
		dir = filepath.Dir(dir) // it is made with the first start
	}
	free := st.Bavail * uint64(st.Bsize) //nolint:gosec,unconvert // a size is positive; its type is the system's
	found := fmt.Sprintf("%d MiB free for %s", free>>20, dir)
	switch {
	case free < spaceError:
		return finding{"space", gradeError, found, "arcbox image prune; df -h " + dir}
	case free < spaceWarning:
		return finding{"space", gradeWarning, found, "arcbox image prune; df -h " + dir}
	}
	return ok("space", found)
}

func seeFiles() finding {
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err != nil {
		return finding{"limits", gradeWarning, err.Error(), "ulimit -n"}
	}
	found := fmt.Sprintf("%d open files at most", r.Max)
	if r.Max < filesWarning {
		return finding{"limits", gradeWarning, found, fmt.Sprintf("ulimit -Hn %d, or LimitNOFILE= in the service", filesWarning)}
	}
	return ok("limits", found)
}

// seeClock knows that it is later than when this was written.
func seeClock(now time.Time) finding {
	found := now.UTC().Format(time.RFC3339)
	if now.Year() < 2025 {
		return finding{"clock", gradeError, found + " is in the past", "timedatectl set-ntp true"}
	}
	return ok("clock", found)
}

// seeModes looks at directories that are the engine's alone; one that is not there
// yet will be made so.
func seeModes(dirs ...string) (out []finding) {
	for _, dir := range dirs {
		info, err := os.Stat(dir)
		uid, known := ownerOf(dir)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			out = append(out, finding{"permissions", gradeError, fmt.Sprintf("%s: %v", dir, rootCause(err)), otherHome})
		case !info.IsDir():
			out = append(out, finding{"permissions", gradeError, dir + " is no directory", otherHome})
		case known && uid != os.Geteuid():
			out = append(out, finding{"permissions", gradeError, fmt.Sprintf("%s is user %d's", dir, uid), otherHome})
		case info.Mode().Perm()&0o077 != 0:
			out = append(out, finding{"permissions", gradeWarning, fmt.Sprintf("%s has mode %04o", dir, info.Mode().Perm()), "chmod 700 " + dir})
		default:
			out = append(out, ok("permissions", dir))
		}
	}
	return out
}

// seeMachines compares the directories with the machines that the journal knows, and
// tells of those that run without being asked to.
func (a *app) seeMachines(ctx context.Context, h home.Home) []finding {
	entries, err := os.ReadDir(h.Machines())
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil
	}
	var machines []*wire.Machine
	if err == nil {
		machines, err = a.journalled(ctx)
	}
	if err != nil {
		return []finding{{"machines", gradeError, "directories were not compared: " + cmp.Or(understood(err).message, "the journal can't be read"), "arcbox journal verify"}}
	}
	known := map[string]bool{}
	out := []finding{}
	for _, m := range machines {
		known[m.GetId()] = true
		if f, lacks := lacking(m); lacks {
			out = append(out, f)
		}
		if m.GetStray() {
			out = append(out, finding{"stray", gradeError, fmt.Sprintf("a VM of %s runs that nobody asked for", m.GetName()), "arcbox stop " + m.GetName()})
		}
	}
	for _, entry := range entries {
		if entry.IsDir() && !known[entry.Name()] {
			out = append(out, finding{"unknown directory", gradeWarning, filepath.Join(h.Machines(), entry.Name()) + " is no machine's that the journal knows", "look at it, then move it away"})
		}
	}
	return out
}

// journalled is the machines that the engine knows, or, where none runs, the journal
// on the disk.
func (a *app) journalled(ctx context.Context) ([]*wire.Machine, error) {
	e, err := a.history(ctx)
	if err != nil {
		return nil, err
	}
	defer e.Close()
	if _, down := e.(*offline); down {
		past, err := pastMachines(ctx, e, &wire.MachinesAt{Seq: math.MaxUint64}) // as of the last record
		return past.GetMachines(), err
	}
	all, err := allMachines(ctx, e)
	return all.GetMachines(), err
}
