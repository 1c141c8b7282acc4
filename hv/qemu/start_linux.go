package qemu

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/arcboxlabs/arcbox-engine/hv"
)

// maxSunPath is the longest path that a unix socket can have.
const maxSunPath = 107

// Start runs a VM: QEMU is up, its QMP answers, and the guest's CPUs run.
func (d *Driver) Start(ctx context.Context, spec hv.Spec, env hv.Env) (hv.VM, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("hv/qemu: start: %w", err)
	}
	first := now()
	if env.Lock == nil || env.Fork == nil {
		return nil, errors.New("hv/qemu: start: the VM host lent no lock or no fork")
	}
	path, err := lookup(spec.QEMU, spec.Architecture())
	if err != nil {
		return nil, err
	}
	if spec, err = settleAccel(ctx, spec, path, env.Fork); err != nil {
		return nil, err
	}
	if spec, err = settleBoard(settleTSC(spec, first)); err != nil {
		return nil, err
	}
	if err := checkHost(spec); err != nil {
		return nil, err
	}
	v := newVM(d, spec, env)
	if spec.Shares, err = v.serveShares(ctx, spec); err != nil {
		return nil, err
	}
	begun := time.Now()
	if err := v.launch(spec, path); err != nil {
		v.unplug()
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, d.startTimeout+hv.SavedTime(spec.Saved))
	defer cancel()
	if err := v.boot(ctx, begun); err != nil {
		return nil, v.ofSaved(v.abort(err))
	}
	return v, nil
}

// settleAccel turns auto into what this host can do, and refuses a KVM that
// isn't there.
func settleAccel(ctx context.Context, s hv.Spec, path string, fork forkFunc) (hv.Spec, error) {
	foreign := s.Architecture() != hv.HostArch
	switch {
	case s.Accel == hv.AccelAuto && foreign:
		s.Accel, s.AccelNote = hv.AccelTCG, fmt.Sprintf("TCG: the guest is %s, this host is %s", s.Architecture(), hv.HostArch)
	case s.Accel == hv.AccelAuto:
		boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
		if err != nil {
			s.AccelCache = "" // nothing holds longer than this start
		}
		r := probe(ctx, s.AccelCache, path, strings.TrimSpace(string(boot)), fork)
		s.Accel, s.AccelNote = r.Accel, r.Note
	case s.Accel == hv.AccelKVM && foreign:
		return s, fmt.Errorf("hv/qemu: accel %q: an %s host runs no %s guests with it; allowed is %q", s.Accel, hv.HostArch, s.Architecture(), hv.AccelTCG)
	case s.Accel == hv.AccelKVM:
		if why := kvmMissing(); why != "" {
			return s, fmt.Errorf("hv/qemu: accel %q: %s; allowed here is %q", s.Accel, why, hv.AccelTCG)
		}
	}
	return s, nil
}

// launch opens what others reach the guest by, and starts QEMU.
func (v *vm) launch(spec hv.Spec, path string) (err error) {
	argv, err := Cmdline(spec)
	if err != nil {
		return err
	}
	argv[0] = path
	if spec.VsockSock {
		if v.sock, err = listenVsock(spec.RunDir); err != nil {
			return err
		}
	}
	if spec.Vsock == hv.VsockKernel {
		if v.vhost, err = openVhost(vhostDevice, spec.CID); err != nil {
			return err
		}
	}
	return v.spawn(argv)
}

// unplug takes back what a QEMU that never was would have had.
func (v *vm) unplug() {
	v.shares.stop()
	v.closeSock()
	if v.vhost != nil {
		_ = v.vhost.Close()
	}
}

// spawn starts QEMU and all that serves it.
func (v *vm) spawn(argv []string) error {
	disks, err := openDisks(v.disks)
	if err != nil {
		return err
	}
	if v.nic != nil {
		link, err := listenLink(v.nic.Socket)
		if err != nil {
			for _, f := range disks {
				_ = f.Close()
			}
			return err
		}
		disks = append(disks, link)
	}
	disks = append(disks, v.shares.takeSockets()...)
	w, err := newWires(v.env.Lock, v.vhost, disks)
	v.vhost = nil // it goes with the others
	if err != nil {
		return err
	}
	proc, err := v.env.Fork(argv[0], argv, &os.ProcAttr{Dir: "/", Env: scrubbedEnv(), Files: w.theirs})
	w.closeTheirs()
	if err != nil {
		w.closeOurs()
		return fmt.Errorf("hv/qemu: start QEMU: %w", err)
	}
	v.attach(proc, w)
	return nil
}

// boot shakes hands and lets the guest run.
func (v *vm) boot(ctx context.Context, begun time.Time) error {
	if err := v.qmp.greeting(ctx); err != nil {
		return err
	}
	greeted := time.Since(begun)
	if err := v.qmp.do(ctx, "qmp_capabilities", nil); err != nil {
		return err
	}
	built := time.Since(begun)
	if v.from != "" {
		if err := v.restore(ctx); err != nil {
			return err
		}
	}
	if err := v.qmp.do(ctx, "cont", nil); err != nil {
		return err
	}
	v.env.Logf("qemu: pid %d, QMP greeting after %s, machine built after %s, guest running after %s", v.proc.Pid,
		greeted.Round(time.Millisecond), built.Round(time.Millisecond), time.Since(begun).Round(time.Millisecond))
	return nil
}

// abort leaves nothing running and says why the start failed: where QEMU ended
// by itself, what it said is worth more than the end of its QMP.
func (v *vm) abort(why error) error {
	ended := errors.Is(why, errQMPEnded) && !v.alive(abortGrace)
	_ = v.proc.Kill() // already dead is fine
	select {
	case <-v.done:
	case <-time.After(killWait):
		return fmt.Errorf("%w; and QEMU (pid %d) does not die when it is killed", why, v.proc.Pid)
	}
	said := inPaths(v.output.LastLines(), v.disks)
	switch {
	case ended && said != "":
		return fmt.Errorf("hv/qemu: QEMU ended at once, %s: %s", v.state, said)
	case ended:
		return fmt.Errorf("hv/qemu: QEMU ended at once, %s, and said nothing", v.state)
	case said != "":
		return fmt.Errorf("%w; QEMU's last words: %s", why, said)
	}
	return why
}

// checkHost refuses what this host can't give. QEMU takes any amount of memory
// and lets the guest die when it is not there.
func checkHost(s hv.Spec) error {
	if n := runtime.NumCPU(); s.CPUs > n {
		return fmt.Errorf("hv/qemu: cpus %d: this host has %d", s.CPUs, n)
	}
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return fmt.Errorf("hv/qemu: ask for the host's memory: %w", err)
	}
	if total := uint64(info.Totalram) * uint64(info.Unit); uint64(s.Memory) > total {
		return fmt.Errorf("hv/qemu: memory %d MiB: this host has %d MiB", s.Memory>>20, total>>20)
	}
	if err := checkFile("kernel", s.Kernel); err != nil {
		return err
	}
	if s.Saved != "" {
		if err := checkFile("saved guest", s.Saved); err != nil {
			return err
		}
	}
	if s.Initrd != "" {
		if err := checkFile("initrd", s.Initrd); err != nil {
			return err
		}
	}
	return nil
}

func checkFile(field, path string) error {
	f, err := os.Open(path)
	if err != nil {
		var p *fs.PathError
		if errors.As(err, &p) {
			err = p.Err
		}
		return fmt.Errorf("hv/qemu: %s %q: %w", field, path, err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("hv/qemu: %s %q: %w", field, path, err)
	}
	if !info.Mode().IsRegular() || info.Size() == 0 {
		return fmt.Errorf("hv/qemu: %s %q: a file with something in it is needed", field, path)
	}
	return nil
}

// listenVsock makes the CONNECT socket.
func listenVsock(dir string) (net.Listener, error) {
	l, err := listenAt(filepath.Join(dir, hv.VsockSocket))
	if err != nil {
		return nil, err // no nil of a type in an interface
	}
	return l, nil
}

// listenLink makes the socket at which QEMU takes the network's frames, to be
// handed to it. It stays on disk: who comes when QEMU is dead is refused.
func listenLink(path string) (*os.File, error) {
	l, err := listenAt(path)
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	defer func() { _ = l.Close() }() // File is a copy
	f, err := l.File()
	if err != nil {
		return nil, fmt.Errorf("hv/qemu: socket: %w", err)
	}
	return f, nil
}

// listenAt makes a socket. Its directory is the user's own (0700); what lies
// there is of a dead VM, for we hold the machine's lock.
func listenAt(path string) (*net.UnixListener, error) {
	if len(path) > maxSunPath {
		return nil, fmt.Errorf("hv/qemu: socket %q: %d bytes, a unix socket's path has at most %d", path, len(path), maxSunPath)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("hv/qemu: socket: %w", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("hv/qemu: socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("hv/qemu: socket: %w", err)
	}
	return l, nil
}
