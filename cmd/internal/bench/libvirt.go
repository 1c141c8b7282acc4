package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// nobody runs libvirtd where bench itself is root: as root it would use the
// host's own directories.
const nobody = 65534

// libvirt finds the rival's programs, and keeps the daemons that were started.
type libvirt struct {
	virsh, daemon string
	tmp           string
	running       []*virt
}

// virt is one libvirtd with files of its own.
type virt struct {
	l    *libvirt
	root string
	cmd  *exec.Cmd
	made int
}

// findLibvirt gives nil where it is not installed.
func findLibvirt(tmp string) *libvirt {
	virsh, err := exec.LookPath("virsh")
	if err != nil {
		return nil
	}
	for _, name := range []string{"libvirtd", "/usr/sbin/libvirtd"} {
		if daemon, err := exec.LookPath(name); err == nil {
			return &libvirt{virsh: virsh, daemon: daemon, tmp: tmp}
		}
	}
	return nil
}

func (l *libvirt) close() {
	for _, v := range l.running {
		_ = v.cmd.Process.Signal(syscall.SIGTERM)
		_ = v.cmd.Wait() // it was told to end
	}
	l.running = nil
}

// start runs a libvirtd for the driver qemu:///session.
func (l *libvirt) start(ctx context.Context, name string) (*virt, error) {
	v := &virt{l: l, root: filepath.Join(l.tmp, name)}
	for _, dir := range []string{"", "run", "run/libvirt", "home", "config", "cache", "data"} {
		path := filepath.Join(v.root, dir)
		if err := os.MkdirAll(path, 0o700); err != nil {
			return nil, fmt.Errorf("libvirt: %w", err)
		}
		if os.Geteuid() == 0 {
			if err := os.Chown(path, nobody, nobody); err != nil {
				return nil, fmt.Errorf("libvirt: %w", err)
			}
		}
	}
	if err := os.Chmod(l.tmp, 0o711); err != nil { //nolint:gosec // nobody must get to what is its own below
		return nil, fmt.Errorf("libvirt: %w", err)
	}
	conf := filepath.Join(v.root, "libvirtd.conf")
	text := "listen_tls = 0\nlisten_tcp = 0\nauth_unix_rw = \"none\"\n"
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		return nil, fmt.Errorf("libvirt: %w", err)
	}
	v.cmd = v.command(context.WithoutCancel(ctx), l.daemon, "-f", conf, "-p", filepath.Join(v.root, "run", "pid"))
	if err := v.cmd.Start(); err != nil {
		return nil, fmt.Errorf("libvirt: %w", err)
	}
	l.running = append(l.running, v)
	limit := time.Now().Add(patience)
	for { // the first connection looks for what QEMU can do, for seconds
		out, err := v.sh(ctx, "list", "--all").CombinedOutput()
		if err == nil {
			return v, nil
		}
		if time.Now().After(limit) || ctx.Err() != nil {
			return nil, fmt.Errorf("libvirt: %w: %s", err, out)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// command runs a program as nobody, or as who we are, with its own directories.
func (v *virt) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	dir := func(name string) string { return filepath.Join(v.root, name) }
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + dir("home"), "XDG_RUNTIME_DIR=" + dir("run"), "XDG_CONFIG_HOME=" + dir("config"),
		"XDG_CACHE_HOME=" + dir("cache"), "XDG_DATA_HOME=" + dir("data"),
		"LIBVIRT_AUTOSTART=0", // a virsh that is early would start another libvirtd, and the two get in each other's way
	}
	cmd.Dir = "/"
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	return cmd
}

func (v *virt) sh(ctx context.Context, args ...string) *exec.Cmd {
	return v.command(ctx, v.l.virsh, append([]string{"-q", "-c", "qemu:///session"}, args...)...)
}

const domain = `<domain type='qemu'><name>%s</name><memory unit='MiB'>512</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type><kernel>/boot/vmlinuz</kernel><initrd>/boot/initrd</initrd></os></domain>
`

// define defines n more domains, one after the other over one connection.
func (v *virt) define(ctx context.Context, n int) (time.Duration, error) {
	var script strings.Builder
	for range n {
		v.made++
		name := fmt.Sprintf("m%d", v.made)
		path := filepath.Join(v.root, name+".xml")
		if err := os.WriteFile(path, fmt.Appendf(nil, domain, name), 0o644); err != nil {
			return 0, fmt.Errorf("libvirt: %w", err)
		}
		fmt.Fprintf(&script, "define %s\n", path)
	}
	cmd := v.sh(ctx)
	cmd.Stdin = strings.NewReader(script.String())
	begun := time.Now()
	out, err := cmd.CombinedOutput()
	took := time.Since(begun)
	if err != nil || strings.Contains(string(out), "error:") {
		return 0, fmt.Errorf("virsh define: %w: %.500s", err, out)
	}
	if v.made%1000 == 0 {
		log.Printf("libvirt: %d domains", v.made)
	}
	return took, nil
}
