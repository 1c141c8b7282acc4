package hosts

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/arcboxlabs/arcbox-engine/actors"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/fsm"
	"github.com/arcboxlabs/arcbox-engine/guest/boot"
	"github.com/arcboxlabs/arcbox-engine/guest/image"
	"github.com/arcboxlabs/arcbox-engine/guest/kernel"
	"github.com/arcboxlabs/arcbox-engine/hv"
	"github.com/arcboxlabs/arcbox-engine/hv/vmhost/api"
	"github.com/arcboxlabs/arcbox-engine/hv/vmhost/client"
)

// Options says where things lie.
type Options struct {
	Machines string   // the machines' directories, by id
	Run      string   // their sockets, by run tag
	Stages   string   // disks that came and are no machine's yet, on the file system of Machines
	Owners   string   // the files that the owners of machines hold locked
	SSH      string   // links to their SSH keys, by name; "" = none are made
	VMHost   string   // path of arcbox-vmhost
	Netd     string   // path of arcbox-netd
	QEMU     string   // path or name of QEMU; "" = the usual one
	Boot     []string // where to look for a kernel and an initramfs
	Cache    string   // a file for what was learnt of the accelerator
	Agent    string   // path of arcbox-agent, for kernels of the store
	Kernels  *kernel.Store
	Images   *image.Store
	Zone     string // the host's time zone; "" = unknown
	Logger   *slog.Logger
}

// World is the real one.
type World struct {
	Options
	linking sync.Mutex // of keys' links
	mu      sync.Mutex
	seen    map[string]reported // by machine, so that its launches leave nothing behind

	making sync.Mutex
	made   map[string]made // by kernel

	agents agents
}

// The faces of the world.
var (
	_ actors.Hosts  = (*World)(nil)
	_ actors.Guests = (*World)(nil)
	_ actors.Dirs   = (*World)(nil)

	_ actors.Provisions = (*World)(nil)
	_ actors.Disks      = (*World)(nil)
	_ actors.Owners     = (*World)(nil)
)

// New makes a world. It touches nothing.
func New(o Options) *World {
	return &World{Options: o, seen: map[string]reported{}, made: map[string]made{}}
}

// consoleBytes is how much of a console one file keeps; there are two.
const consoleBytes = 1 << 20

func (w *World) place(ref actors.Ref) client.Place {
	return client.Place{Dir: filepath.Join(w.Machines, ref.ID), RunDir: filepath.Join(w.Run, "m", ref.RunTag)}
}

// Prepare implements actors.Hosts.
func (w *World) Prepare(ctx context.Context, ref actors.Ref, spec fsm.Spec, formatted []string) (actors.Lock, []fsm.DiskFormattedFact, error) {
	if err := w.check(ctx, spec); err != nil {
		return nil, nil, err
	}
	p := w.place(ref)
	if _, err := api.SocketPath(p.RunDir); err != nil {
		return nil, nil, &actors.Refusal{Code: wire.Code_CODE_BAD_INPUT, Field: "ARCBOX_HOME", Message: err.Error(),
			Hint: "set ARCBOX_HOME to a shorter path"}
	}
	for _, dir := range []string{p.Dir, p.RunDir} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, nil, fmt.Errorf("prepare: %w", err)
		}
	}
	lock, err := client.TakeLock(ctx, p)
	if errors.Is(err, client.ErrHeld) {
		return nil, nil, &actors.Refusal{Code: wire.Code_CODE_UNSAFE, Hint: "arcbox journal why " + ref.Name,
			Message: fmt.Sprintf("machine %q: %v", ref.Name, actors.ErrLockHeld)}
	}
	if err != nil {
		return nil, nil, fmt.Errorf("prepare: %w", err)
	}
	made, err := w.makeDisk(ref, spec, formatted)
	if err != nil {
		return nil, nil, errors.Join(err, lock.Close())
	}
	return lock, made, nil
}

// check refuses what would fail for sure, before anything is recorded.
func (w *World) check(ctx context.Context, spec fsm.Spec) error {
	if err := runnable("the VM host", w.VMHost, "put arcbox-vmhost beside arcbox-engine, or into its PATH"); err != nil {
		return err
	}
	if spec.Network != fsm.NetworkNone {
		if err := runnable("the network process", w.Netd, "put arcbox-netd beside arcbox-engine, or into its PATH"); err != nil {
			return err
		}
	}
	if spec.Backend == string(hv.BackendSim) {
		return nil
	}
	if spec.Backend == string(hv.BackendQEMU) {
		if err := runnable("QEMU", w.qemu(archOf(spec)), "apt-get install "+archOf(spec).QEMUPackage()); err != nil {
			return err
		}
	}
	if _, err := w.image(spec); err != nil {
		return err
	}
	a, err := w.assets(ctx, spec)
	if err != nil {
		return err
	}
	for _, f := range []struct{ field, path string }{{"kernel", a.Kernel}, {"initrd", a.Initrd}} {
		if err := readable(f.path); err != nil {
			return &actors.Refusal{Code: wire.Code_CODE_BAD_INPUT, Field: f.field, Hint: "ls -l " + f.path,
				Message: fmt.Sprintf("%s %q: a file that the engine can read is needed: %v", f.field, f.path, err)}
		}
	}
	if err := w.checkShares(spec); err != nil {
		return err
	}
	return w.checkBlocks(spec)
}

// runnable refuses a program that is not there, or is none.
func runnable(what, program, hint string) error {
	_, err := exec.LookPath(program)
	if err == nil {
		return nil
	}
	why := errors.Unwrap(err) // the program is named already
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		why = p.Err
	}
	return &actors.Refusal{Code: wire.Code_CODE_LACKING, Hint: hint, Message: fmt.Sprintf("%s can't be run: %s: %v", what, program, why)}
}

// qemu is the program that runs machines of an architecture. What an engine was
// told is for its host's.
func (w *World) qemu(arch hv.Arch) string {
	if w.QEMU != "" && arch == hv.HostArch {
		return w.QEMU
	}
	return arch.QEMU()
}

func readable(path string) error {
	fi, err := os.Stat(path)
	switch {
	case err != nil:
	case !fi.Mode().IsRegular():
		err = errors.New("not a regular file")
	case fi.Size() == 0:
		err = errors.New("it is empty")
	}
	var f *os.File
	if err == nil {
		f, err = os.Open(path)
	}
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err // the path is named already
	}
	if err != nil {
		return err
	}
	return f.Close()
}

// Launch implements actors.Hosts.
func (w *World) Launch(ctx context.Context, ref actors.Ref, lock actors.Lock, o actors.Order) (fsm.LaunchedFact, actors.Lock, error) {
	held := lock.(*client.Lock)
	spec, from, err := w.spec(ctx, ref, o)
	if err != nil {
		return fsm.LaunchedFact{}, held, err
	}
	_, hello, err := client.Launch(ctx, w.VMHost, held, spec)
	if errors.Is(err, hv.ErrCIDTaken) {
		err = fmt.Errorf("%w: %w", actors.ErrCIDTaken, err)
	}
	if err == nil {
		w.report(ref, o.Launch, 0)
		return fsm.LaunchedFact{
			Driver: string(hello.Backend), Version: hello.Version, Accel: string(hello.Accel), Note: hello.Note,
			Kernel: from.name, Release: from.Release, Board: string(hello.Board),
		}, nil, nil
	}
	if held.Held() {
		return fsm.LaunchedFact{}, held, err
	}
	back, takeErr := client.TakeLock(ctx, w.place(ref))
	if takeErr != nil {
		return fsm.LaunchedFact{}, nil, err // the caller takes it by force
	}
	return fsm.LaunchedFact{}, back, err
}

// spec writes the launch's token and initramfs, and says what to run.
func (w *World) spec(ctx context.Context, ref actors.Ref, o actors.Order) (hv.Spec, booted, error) {
	p := w.place(ref)
	s := hv.Spec{
		Version: hv.SpecVersion, Machine: ref.ID, Name: ref.Name, Launch: o.Launch, CID: hv.CID(o.CID),
		Backend: hv.Backend(o.Spec.Backend), Accel: hv.Accel(o.Spec.Accel), CPUs: o.Spec.CPUs, Memory: o.Spec.Memory,
		Cmdline: w.words(ref, o), Dir: p.Dir, RunDir: p.RunDir, Console: consoleBytes,
		TokenFile: filepath.Join(p.Dir, api.TokenFile), Script: o.Spec.Script, VsockSock: true,
		AccelCache: w.Cache,
	}
	token, err := begin(&s, ref, o.Saved)
	if err != nil {
		return s, booted{}, err
	}
	if o.Spec.Vsock != "" {
		s.Version, s.Vsock = max(s.Version, hv.SpecVersionVsock), hv.VsockBackend(o.Spec.Vsock)
	}
	told, err := withShares(&s, o.Spec)
	if err != nil {
		return s, booted{}, fmt.Errorf("shares: %w", err)
	}
	if s.Backend == hv.BackendSim {
		return s, booted{}, nil
	}
	from, err := w.assets(ctx, o.Spec)
	if err != nil {
		return s, booted{}, err
	}
	if s, err = w.withDisks(s, ref, o.Spec); err != nil {
		return s, booted{}, err
	}
	if archOf(o.Spec) == hv.HostArch {
		s.QEMU = w.QEMU
	}
	withBlocks(&s, o.Spec.Blocks)
	withModules(&s, o.Spec, from)
	withNIC(&s, ref)
	if arch := archOf(o.Spec); arch != hv.ArchAMD64 {
		s.Version, s.Arch = max(s.Version, hv.SpecVersionArch), arch
	}
	if s.Backend == hv.BackendQEMU { // no other has boards
		s.Board, s.BoardAccel = board(o.Spec, from.boots)
	}
	if s.Board != "" {
		s.Version = max(s.Version, hv.SpecVersionBoards)
	}
	s.Kernel, s.Initrd = from.Kernel, filepath.Join(p.Dir, api.InitrdFile)
	secrets, err := w.sshSecrets(ref)
	if err != nil {
		return s, booted{}, fmt.Errorf("ssh keys: %w", err)
	}
	secrets = append(secrets, told...)
	if o.Seed {
		seed, err := w.seedSecrets(ref, *o.Spec.Provision)
		if err != nil {
			return s, booted{}, err
		}
		secrets = append(secrets, seed...)
	}
	if err := boot.AppendToken(s.Initrd, token, secrets, from.initrds(o.Spec)...); err != nil {
		return s, booted{}, fmt.Errorf("write initramfs: %w", err)
	}
	return s, from, nil
}

// writeToken makes the launch's token anew: 0400, never reused.
func writeToken(path string, token []byte) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o400)
	if err != nil {
		return err
	}
	_, err = f.Write(token)
	return errors.Join(err, f.Close())
}

// Look implements actors.Hosts.
func (w *World) Look(ctx context.Context, ref actors.Ref, launch string) (actors.Sight, error) {
	p := w.place(ref)
	if _, err := os.Lstat(p.Dir); errors.Is(err, os.ErrNotExist) {
		return actors.Sight{Found: fsm.Free, Lock: noLock{}}, nil // it was never started
	}
	f, err := client.Find(ctx, p)
	if err != nil {
		return actors.Sight{}, fmt.Errorf("look: %w", err)
	}
	switch {
	case f.Lock != nil:
		s := actors.Sight{Found: fsm.Free, Lock: f.Lock}
		if f.NoteErr != nil {
			w.Logger.Warn("exit note", "machine", ref.Name, "err", f.NoteErr)
		}
		if f.Note != nil && f.Note.Launch == launch {
			s.Found, s.Exit = fsm.FreeWithNote, exitOf(f.Note.Exit)
			s.Exit.Note = true
		}
		return s, nil
	case f.Hello != nil:
		s := actors.Sight{Found: fsm.HeldByOther, Launch: f.Hello.Launch, CID: uint32(f.Hello.CID), Version: f.Hello.Version}
		if f.Hello.Launch == launch {
			s.Found = fsm.HeldByThis
		}
		return s, nil
	}
	return actors.Sight{Found: fsm.HeldMute}, nil
}

// noLock stands for the lock of a machine that has no directory.
type noLock struct{}

func (noLock) Close() error { return nil }

func exitOf(e hv.Exit) *actors.VMExit {
	return &actors.VMExit{Cause: fsm.Cause(e.Cause), Status: e.Status, Detail: e.Detail, Time: e.Time}
}

// politeTime is how long a VM host has to obey a kill before it is killed
// itself.
const politeTime = time.Second

// Kill implements actors.Hosts.
func (w *World) Kill(ctx context.Context, ref actors.Ref) error {
	p := w.place(ref)
	polite, cancel := context.WithTimeout(ctx, politeTime)
	err := client.Connect(p).Kill(polite)
	cancel()
	if err == nil {
		return nil
	}
	lock, err := client.End(ctx, p)
	if err != nil {
		return fmt.Errorf("kill: %w", err)
	}
	return lock.Close() // the watch takes it
}
