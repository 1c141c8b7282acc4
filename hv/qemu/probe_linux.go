package qemu

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
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

// probeKVM runs the probe's guest. It comes back in time even where KVM makes
// QEMU unkillable.
func probeKVM(ctx context.Context, path string) Result {
	return probeWith(ctx, path, "kvm", "host")
}

func probeWith(ctx context.Context, path, accel, cpu string) Result {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	done := make(chan Result, 1)
	go func() {
		// The parent-death signal follows the thread that forked.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		done <- runProbe(ctx, path, accel, cpu)
	}()
	select {
	case r := <-done:
		return r
	case <-ctx.Done():
	}
	select {
	case r := <-done:
		return r
	case <-time.After(time.Second):
		return verdict(false, "QEMU does not even die when it is killed")
	}
}

func runProbe(ctx context.Context, path, accel, cpu string) Result {
	kernel, err := probeFile()
	if err != nil {
		return verdict(false, err.Error())
	}
	defer func() { _ = kernel.Close() }()
	var output tail
	cmd := exec.CommandContext(ctx, path,
		"-name", "guest=arcbox-probe", "-no-user-config", "-nodefaults", "-display", "none", "-sandbox", sandbox,
		"-machine", "q35,dump-guest-core=off", "-accel", accel, "-cpu", cpu, "-m", "64", "-no-reboot",
		"-device", fmt.Sprintf("isa-debug-exit,iobase=%#x,iosize=4", probePort),
		"-kernel", "/proc/self/fd/3")
	cmd.ExtraFiles = []*os.File{kernel}
	cmd.Env = scrubbedEnv()
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		return verdict(false, err.Error())
	}
	// Where KVM fails QEMU aborts; its core would help nobody.
	_ = unix.Prlimit(cmd.Process.Pid, unix.RLIMIT_CORE, &unix.Rlimit{}, nil)
	err = cmd.Wait()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && exit.ExitCode() == probeStatus:
		return verdict(true, "")
	case ctx.Err() != nil:
		return verdict(false, fmt.Sprintf("nothing after %s", probeTime))
	case err == nil:
		return verdict(false, "QEMU ended at once")
	}
	how := err.Error()
	if last := output.lastLines(); last != "" {
		how += "; QEMU's last words: " + last
	}
	return verdict(false, how)
}

// probeFile holds the kernel in memory: nothing to clean up.
func probeFile() (*os.File, error) {
	fd, err := unix.MemfdCreate("arcbox-probe", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make a memory file: %w", err)
	}
	f := os.NewFile(uintptr(fd), "arcbox-probe")
	if _, err := f.Write(probeKernel()); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("write a memory file: %w", err)
	}
	return f, nil
}
