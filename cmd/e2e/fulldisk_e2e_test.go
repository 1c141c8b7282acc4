//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// mountsVar is set where a test runs in a mount namespace of its own.
const mountsVar = "ARCBOX_TEST_MOUNTS"

// inOwnMounts runs a test a second time, in a mount namespace of its own, and
// tells whether this is that run. What is mounted there nobody else sees, and it
// is gone with the last process. It needs root, or a kernel that lets users
// make namespaces.
func inOwnMounts(t *testing.T) bool {
	t.Helper()
	if os.Getenv(mountsVar) != "" {
		return true
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run", "^"+t.Name()+"$", "-test.v", "-test.timeout", "5m")
	cmd.Env = append(os.Environ(), mountsVar+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if uid, gid := os.Getuid(), os.Getgid(); uid != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: gid, Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Errorf("in a mount namespace of its own, which needs root, or user namespaces: %v", err)
	}
	return false
}

// newBedOn makes a home on a file system of its own, of that many bytes.
func newBedOn(t *testing.T, size int) *bed {
	t.Helper()
	b := newBed(t)
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("arcbox-test", b.home, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0700", size)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // before that of the bed, which finds nothing any more
		if log, err := os.ReadFile(filepath.Join(b.home, "log", "engine.log")); t.Failed() {
			t.Logf("engine's log: %s, %v", log, err)
		}
		b.run("engine", "start")
		b.run("engine", "stop", "--machines", "--timeout", "5s")
		if err := unix.Unmount(b.home, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return b
}

// fill leaves not a byte on the home's disk.
func (b *bed) fill(t *testing.T) (empty func()) {
	t.Helper()
	f, err := os.CreateTemp(b.home, "filler")
	if err != nil {
		t.Fatal(err)
	}
	path := f.Name()
	for size := 1 << 20; size > 0; {
		if _, err := f.Write(make([]byte, size)); errors.Is(err, syscall.ENOSPC) {
			size /= 2
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFullDisk: the disk fills up to its last byte. What makes it fuller is
// refused; machines run on, can be stopped and removed, by a new engine, too;
// nothing is lost; when there is room again all goes on.
func TestFullDisk(t *testing.T) {
	if !inOwnMounts(t) {
		return
	}
	b := newBedOn(t, 352<<20)
	b.ok("engine", "start", "--allow-sim")
	b.ok("create", "real", "--memory", "128", "--cpus", "1")
	for _, name := range []string{"run", "force", "idle", "spare"} {
		b.ok("create", name, "--backend", "sim")
	}
	b.ok("start", "real", "run", "force")
	boot, force := b.bootID("real"), b.inspect("force")
	empty := b.fill(t)
	b.eventually("the engine sees it", 10*time.Second, func() bool { return strings.Contains(b.ok("engine", "status"), "almost full") })
	b.refusedForSpace(t, boot)

	old := b.engine().PID
	b.killEngine()
	b.eventually("the old engine is dead", 10*time.Second, func() bool { return dead(old) })
	b.ok("engine", "start", "--allow-sim")
	b.refusedForSpace(t, boot)
	b.ok("stop", "real")
	b.ok("stop", "run")
	b.ok("rm", "idle")
	b.ok("rm", "-f", "force")
	b.nothingLeft(t, "rm -f on a full disk", force, true)
	for name, cause := range map[string]string{"real": "stopped", "run": "stopped"} {
		if m := b.inspect(name); m.State != "Stopped" || m.Cause != cause {
			t.Errorf("%s is %s, %s; want Stopped, %s", name, m.State, m.Cause, cause)
		}
		b.nothingLeft(t, "stop on a full disk", b.inspect(name), false)
	}
	b.ok("journal", "verify")
	b.ok("engine", "stop")

	more := b.fill(t) // somebody took the ballast, too
	b.unreachable(t, "not a byte for the journal", 1, "no space left on device", "hint: df -h "+b.home)
	if log, err := os.Stat(filepath.Join(b.home, "log", "engine.log")); err != nil || log.Size() > 64<<10 {
		t.Errorf("engines that can't start fill the log: %+v, %v", log, err)
	}
	more()
	empty()
	b.ok("engine", "start", "--allow-sim")
	b.ok("start", "real", "run", "spare")
	b.ok("create", "new", "--backend", "sim")
	if b.bootID("real") == boot {
		t.Error("it runs with the boot id of a VM that was stopped")
	}
	want := []string{"created", "start-requested", "launched", "ready", "adopted", "stop-requested", "exited", "start-requested", "launched", "ready"}
	if got := kinds(b.journal("real")); !slices.Equal(got, want) {
		t.Errorf("journal: %v, want %v", got, want)
	}
	b.ok("journal", "verify")
}

// refusedForSpace fails where an engine on a full disk does what makes it
// fuller, or does not do what doesn't.
func (b *bed) refusedForSpace(t *testing.T, boot string) {
	t.Helper()
	seq := b.engine().Seq
	for _, args := range []string{"create x --backend sim", "start spare", "up spare", "up y --backend sim", "restart run", "restart real"} {
		said := b.refused(t, 1, strings.Fields(args)...)
		has(t, args, said.Message+"\n"+said.Hint, "nearly full", "stop and rm work", "df -h "+b.home)
	}
	b.why(t, "spare", "never started", "The disk of "+filepath.Join(b.home, "data")+" is nearly full, so that no machine can be started")
	if now := b.engine().Seq; now != seq {
		t.Errorf("what was refused left %d records", now-seq)
	}
	if listed := b.list(); len(listed) != 5 || listed["run"].State != "Running" || listed["spare"].State != "Created" {
		t.Errorf("the list is %v", listed)
	}
	if b.bootID("real") != boot {
		t.Error("the guest was touched")
	}
}

// TestNoRoomForAnEngine: the disk is full before there is a journal; and a disk
// that can only be read.
func TestNoRoomForAnEngine(t *testing.T) {
	if !inOwnMounts(t) {
		return
	}
	b := newBedOn(t, 4<<20)
	for _, dir := range []string{"data", "run", "log"} {
		if err := os.Mkdir(filepath.Join(b.home, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	empty := b.fill(t)
	r := b.run("create", "a")
	if r.code != 6 {
		t.Errorf("create on a full disk: exit %d, want 6", r.code)
	}
	has(t, "create on a full disk", r.err, "no space", "\nhint: df -h "+b.home)
	r = b.daemon()
	if r.code != 1 {
		t.Errorf("arcbox-engine on a full disk: exit %d, want 1", r.code)
	}
	has(t, "arcbox-engine on a full disk", r.err, "no space left", "hint: df -h "+b.home)
	empty()

	if err := unix.Mount("", b.home, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	b.unreachable(t, "a disk that can only be read", 1, "read-only file system", "set ARCBOX_HOME to a directory of your own")
	if err := unix.Mount("", b.home, "", unix.MS_REMOUNT, fmt.Sprintf("size=%d", 64<<20)); err != nil {
		t.Fatal(err)
	}
	b.ok("engine", "start")
	if listed := b.list(); len(listed) != 0 {
		t.Errorf("what was refused is listed: %v", listed)
	}
	b.bare(t, "a full disk")
}
