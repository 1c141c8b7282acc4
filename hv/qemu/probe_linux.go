package qemu

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/arcboxlabs/arcbox-engine/hv/console"
)

const kvmDevice = "/dev/kvm"

// kvmMissing says why KVM can't even be tried; "" = it can.
func kvmMissing() string {
	f, err := os.OpenFile(kvmDevice, os.O_RDWR, 0)
	switch {
	case err == nil:
		_ = f.Close()
		return ""
	case errors.Is(err, fs.ErrNotExist):
		return "this host has no " + kvmDevice
	case errors.Is(err, fs.ErrPermission):
		return "no permission to open " + kvmDevice + ": add the user to the group kvm"
	}
	return err.Error()
}

// forkHere starts a process from the calling thread, whose end it does not
// outlive.
func forkHere(path string, argv []string, attr *os.ProcAttr) (*os.Process, error) {
	attr.Sys = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return os.StartProcess(path, argv, attr)
}

// probeWith runs the probe's guest. It comes back in time even where KVM makes
// QEMU unkillable.
func probeWith(ctx context.Context, fork forkFunc, path string, guest probeGuest, accel, cpu string) Result {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	done := make(chan Result, 1)
	go func() {
		runtime.LockOSThread() // for forkHere
		defer runtime.UnlockOSThread()
		done <- runProbe(ctx, fork, path, guest, accel, cpu)
	}()
	select {
	case r := <-done:
		return r
	case <-ctx.Done():
	}
	select {
	case r := <-done:
		return r
	case <-time.After(2 * lastBytes):
		return verdict(false, "QEMU does not even die when it is killed")
	}
}

func runProbe(ctx context.Context, fork forkFunc, path string, guest probeGuest, accel, cpu string) Result {
	argv := []string{
		path, "-name", "guest=arcbox-probe", "-no-user-config", "-nodefaults", "-display", "none", "-sandbox", sandbox,
		"-accel", accel, "-cpu", cpu, "-m", "64", "-no-reboot",
		"-kernel", "/proc/self/fd/3",
	}
	argv = append(argv, guest.args...)
	var output console.Tail
	state, err := runQEMU(ctx, fork, argv, guest.kernel, &output)
	switch {
	case err != nil:
		return verdict(false, err.Error())
	case guest.ran(state.ExitCode(), output.LastLines()):
		return verdict(true, "")
	case ctx.Err() != nil:
		return verdict(false, fmt.Sprintf("its guest did nothing for %s", probeTime))
	}
	how := "QEMU ended: " + state.String()
	if said := output.LastLines(); said != "" {
		how += "; its last words: " + said
	}
	return verdict(false, how)
}

// runQEMU runs it to its end, or to ctx's.
func runQEMU(ctx context.Context, fork forkFunc, argv []string, image []byte, output *console.Tail) (*os.ProcessState, error) {
	kernel, err := probeFile(image)
	if err != nil {
		return nil, err
	}
	defer func() { _ = kernel.Close() }()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	defer func() { _ = null.Close() }()
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	proc, err := fork(argv[0], argv, &os.ProcAttr{Dir: "/", Env: scrubbedEnv(), Files: []*os.File{null, w, w, kernel}})
	_ = w.Close()
	if err != nil {
		return nil, fmt.Errorf("start QEMU: %w", err)
	}
	// Where KVM fails QEMU aborts; its core would help nobody.
	_ = unix.Prlimit(proc.Pid, unix.RLIMIT_CORE, &unix.Rlimit{}, nil)
	stop := context.AfterFunc(ctx, func() { _ = proc.Kill() })
	defer stop()
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		console.Drain(output, r)
	}()
	state, err := proc.Wait()
	_ = r.SetReadDeadline(time.Now().Add(lastBytes))
	<-drained
	return state, err
}

// probeFile holds the kernel in memory: nothing to clean up.
func probeFile(image []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("arcbox-probe", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make a memory file: %w", err)
	}
	f := os.NewFile(uintptr(fd), "arcbox-probe")
	if _, err := f.Write(image); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("write a memory file: %w", err)
	}
	return f, nil
}
