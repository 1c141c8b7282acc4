//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/arcboxlabs/arcbox-engine/guest/image/imagetest"
)

// bootTime is far more than a boot takes: hosts may be busy.
const bootTime = "170s"

// rootsFile is one of the root file systems that .ci/roots made.
func rootsFile(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(os.Getenv("ARCBOX_TEST_ROOTS"), name)
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("ARCBOX_TEST_ROOTS names no directory of root file systems: run ./task e2e (%v)", err)
	}
	return path
}

func contentOf(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// newBedWithoutRoot is a home of somebody who is not root, with boot assets
// within his reach.
func newBedWithoutRoot(t *testing.T) *bed {
	t.Helper()
	if os.Getuid() != 0 {
		return newBed(t)
	}
	b := newBedOf(t, nobody)
	assets := filepath.Dir(os.Getenv("ARCBOX_TEST_KERNEL"))
	to := filepath.Join(b.home, "cache", "arcbox", "boot")
	if err := os.CopyFS(filepath.Join(to, filepath.Base(assets)), os.DirFS(assets)); err != nil {
		t.Fatal(err)
	}
	b.env = append(b.env, "XDG_CACHE_HOME="+filepath.Join(b.home, "cache"), "DOCKER_CONFIG="+b.home)
	return b
}

// TestRunWithoutInit: an image of a registry without an init, run by somebody who
// is not root; and whatever ends the command, the machine goes with it.
func TestRunWithoutInit(t *testing.T) {
	hub := imagetest.NewHub(t)
	hub.Push(t, "lib/bare:1", imagetest.Container(t, runtime.GOARCH, contentOf(t, rootsFile(t, "bare.tar"))))
	b := newBedWithoutRoot(t)
	ref := hub.Host + "/lib/bare:1"
	if out := b.ok("run", ref, "--memory", "256M", "--start-timeout", bootTime, "--", "cat", "/etc/os-release"); !strings.Contains(out, "Busybox alone") {
		t.Errorf("its os-release is %q", out)
	}
	if left := b.list(); len(left) != 0 {
		t.Errorf("left are %v", left)
	}
	if r := b.run("run", ref, "--memory", "256M", "--start-timeout", bootTime, "--name", "failing", "--", "sh", "-c", "exit 7"); r.code != 7 {
		t.Errorf("exit %d, want 7", r.code)
	}
	for name, sig := range map[string]syscall.Signal{"killed": syscall.SIGKILL, "interrupted": syscall.SIGINT} {
		r := b.begin("run", ref, "--memory", "256M", "--start-timeout", bootTime, "--name", name, "--", "sleep", "1000")
		b.eventually("the machine is there", time.Minute, func() bool { return b.run("wait", name, "running").code == 0 })
		b.eventually("the program runs", time.Minute, func() bool {
			return strings.Contains(b.run("exec", name, "--", "ps").out, "sleep 1000")
		})
		m := b.inspect(name)
		if err := r.cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		if got := r.wait(); got.code == 0 {
			t.Errorf("%s: it ended well", name)
		}
		b.eventually("the machine is removed", 30*time.Second, func() bool { return len(b.list()) == 0 })
		b.nothingLeft(t, "run that was "+name, m, true)
	}
	if rm := last(b.journal("killed"), "removed"); rm.Principal != "owner" {
		t.Errorf("it was removed by %q, want its owner's end", rm.Principal)
	}
	b.ok("image", "rm", ref)
}

// TestOpenRC: an image of a tar whose init is OpenRC's.
func TestOpenRC(t *testing.T) {
	b := newBed(t)
	b.ok("create", "rc", "--image", rootsFile(t, "openrc.tar.gz"), "--memory", "512M")
	b.ok("start", "rc", "--timeout", bootTime)
	b.ok("wait", "rc", "booted", "--timeout", bootTime)
	out := b.ok("exec", "rc", "--", "sh", "-c", "cat /proc/1/comm /run/openrc/softlevel; hostname")
	if out != "init\ndefaultrc" {
		t.Errorf("PID 1, the run level and the name are %q", out)
	}
}

// TestSystemd: a machine image of an index. What is installed and written in it
// is there after a restart, and after the end of its VM host by kill -9.
func TestSystemd(t *testing.T) {
	web := imagetest.Streams(t, contentOf(t, rootsFile(t, "systemd.tar.xz")), "Debian bookworm bookworm debian/12 "+runtime.GOARCH+" default")
	b := newBed(t)
	b.ok("create", "web", "--image", "debian:12", "--server", web.URL+"/base", "--memory", "512M")
	b.ok("start", "web", "--timeout", bootTime)
	b.ok("wait", "web", "booted", "--timeout", bootTime)
	state := strings.TrimSpace(b.run("exec", "web", "--", "systemctl", "is-system-running").out)
	if state != "running" {
		t.Errorf("systemd says %q: %s", state, b.run("exec", "web", "--", "systemctl", "--failed").out)
	}
	if out := b.ok("exec", "web", "--", "dmesg"); strings.Contains(out, "Failed to find module") {
		t.Errorf("systemd misses modules of the kernel: %s", out)
	}
	b.ok("cp", rootsFile(t, "hello.deb"), "web:/root/hello.deb")
	b.ok("exec", "web", "--", "apt-get", "install", "--yes", "/root/hello.deb")
	b.ok("restart", "web", "--start-timeout", bootTime)
	if out := b.ok("exec", "web", "--", "arcbox-hello"); out != "hello from a package" {
		t.Errorf("after a restart the package says %q", out)
	}
	b.ok("exec", "web", "--", "sh", "-c", "echo synced >/root/file && sync /root/file")
	if !b.signal(b.only(vmhostProgram, b.inspect("web").ID), syscall.SIGKILL) {
		t.Fatal("its VM host can't be killed")
	}
	b.eventually("it is Stopped", 10*time.Second, func() bool { return b.inspect("web").State == "Stopped" })
	b.ok("start", "web", "--timeout", bootTime)
	if out := b.ok("exec", "web", "--", "sh", "-c", "cat /root/file /var/lib/arcbox-hello && arcbox-hello"); out != "synced\nhello from a package" {
		t.Errorf("after kill -9 there is %q", out)
	}
	if end := last(b.journal("web"), "exited"); end.text("cause") != "killed" {
		t.Errorf("the journal says %+v", end)
	}
	if r := b.run("image", "rm", "debian:12"); r.code != 4 || !strings.Contains(r.err, "web") {
		t.Errorf("an image in use: exit %d, %q", r.code, r.err)
	}
	if images, err := filepath.Glob(filepath.Join(b.home, "data", "images", "*.erofs")); err != nil || len(images) != 1 {
		t.Errorf("the images are %v, want one (%v)", images, err)
	}
	if kinds := kinds(b.journal("web")); slices.Contains(kinds, "repaired") {
		t.Errorf("journal: %v", kinds)
	}
}
