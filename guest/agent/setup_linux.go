package agent

import (
	"errors"
	"fmt"
	"log/slog"
	"os"

	"golang.org/x/sys/unix"

	"github.com/arcboxlabs/arcbox-engine/guest/agent/early"
)

const quiet = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC

// mounts are those that package early leaves.
var mounts = []early.Mount{
	{Kind: "sysfs", On: "/sys", Flags: quiet},
	{Kind: "devpts", On: "/dev/pts", Options: "gid=5,mode=0620,ptmxmode=0666", Flags: unix.MS_NOSUID | unix.MS_NOEXEC},
	{Kind: "tmpfs", On: "/dev/shm", Options: "mode=1777", Flags: unix.MS_NOSUID | unix.MS_NODEV},
	{Kind: "tmpfs", On: "/run", Options: "mode=0755", Flags: unix.MS_NOSUID | unix.MS_NODEV},
	{Kind: "cgroup2", On: "/sys/fs/cgroup", Flags: quiet},
}

// rescueMounts are of a machine that has no disk of its own.
var rescueMounts = []early.Mount{
	{Kind: "tmpfs", On: "/tmp", Options: "mode=1777", Flags: unix.MS_NOSUID | unix.MS_NODEV},
}

// files are made where the root has none.
var files = []struct{ path, text string }{
	{"/etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"},
	{"/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\nservices: files\n"}, // a static busybox dies without
	{"/etc/group", "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n"},
}

const (
	// maxFiles is how many open files a program may have, if it asks.
	maxFiles = 1 << 20
	// ownFiles is how many this program may have where it stays process 1: two for
	// each forward. What it starts has that limit too, which Go can't help, and which
	// does no harm to select(2) in a program that does not open as many.
	ownFiles = 2*maxForwards + 1024
)

// setUp does what every program expects of a system.
func setUp(name string, log *slog.Logger) {
	failed := failures(log)
	unix.Umask(0o022)
	failed("PATH", os.Setenv("PATH", defaultPath))
	failed("host name", unix.Sethostname([]byte(name)))
	failed("loopback", raiseLoopback())
	// The soft limit stays where select(2) works; a program raises it itself.
	failed("open files", unix.Prlimit(0, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 1024, Max: maxFiles}, nil))
	for link, to := range map[string]string{
		"/dev/fd": "/proc/self/fd", "/dev/stdin": "fd/0", "/dev/stdout": "fd/1", "/dev/stderr": "fd/2",
	} {
		if err := os.Symlink(to, link); !errors.Is(err, os.ErrExist) {
			failed(link, err)
		}
	}
}

// setUpFiles makes what a root without an init of its own may lack, and takes what
// such an init needs.
func setUpFiles(args arguments, log *slog.Logger) {
	failed, name := failures(log), args.name
	failed("open files", unix.Prlimit(0, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: ownFiles, Max: maxFiles}, nil))
	for _, dir := range []struct {
		path string
		mode os.FileMode
	}{{"/etc", 0o755}, {"/root", 0o700}, {"/var", 0o755}} {
		failed(dir.path, os.MkdirAll(dir.path, dir.mode))
	}
	for _, f := range files {
		failed(f.path, writeMissing(f.path, f.text))
	}
	if args.net.domain != "" {
		failed("/etc/resolv.conf", writeMissing("/etc/resolv.conf", args.net.resolver()))
	}
	failed("/etc/hosts", writeMissing("/etc/hosts", hostsWith("", name)))
	failed("/etc/hostname", writeMissing("/etc/hostname", name+"\n"))
}

func failures(log *slog.Logger) func(what string, err error) {
	return func(what string, err error) {
		if err != nil {
			log.Warn("set up", "what", what, "err", err)
		}
	}
}

func writeMissing(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

func raiseLoopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return raise(fd, "lo")
}

// raise brings an interface up, by any socket.
func raise(fd int, name string) error {
	req, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req); err != nil {
		return fmt.Errorf("raise %s: %w", name, err)
	}
	return nil
}
