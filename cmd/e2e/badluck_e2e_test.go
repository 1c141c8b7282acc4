//go:build e2e

package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// lockHolders are all processes but the engine that have something of this
// home's machines open, whatever their names are.
func (b *bed) lockHolders() []holder {
	b.t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		b.t.Fatal(err)
	}
	var out []holder
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		comm, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "comm"))
		if id := b.holds(pid); id != "" && string(comm) != "arcbox-engine\n" {
			out = append(out, holder{pid, strings.TrimSpace(string(comm)), id})
		}
	}
	return out
}

// noise is a file that is no kernel and no initramfs.
func noise() string {
	out := make([]byte, 256<<10)
	for r, i := rand.New(rand.NewPCG(1, 2)), 0; i < len(out); i++ {
		out[i] = byte(r.Uint32())
	}
	return string(out)
}

// failedStart starts machines that can't be started, and gives what was said.
// None may be stuck, whatever is wrong with it.
func (b *bed) failedStart(t *testing.T, limit time.Duration, names ...string) string {
	t.Helper()
	began := time.Now()
	r := b.run(append([]string{"start", "--timeout", limit.String()}, names...)...)
	if r.code != 1 {
		t.Errorf("start %v: exit %d, want 1", names, r.code)
	}
	// The launches before the last one take their time as well.
	if took := time.Since(began); took > limit+time.Minute {
		t.Errorf("start %v took %s with %s allowed", names, took, limit)
	}
	return r.err
}

// stopped fails unless a machine is Stopped for that cause, says so in every
// place, with the last lines of its console, and has left no process.
func (b *bed) stopped(t *testing.T, name, cause, tail string, words ...string) {
	t.Helper()
	m := b.inspect(name)
	if m.State != "Stopped" || m.Cause != cause || m.Health != "ok" {
		t.Errorf("%s is %s, %s, %s (%s); want Stopped, %s", name, m.State, m.Cause, m.Health, m.HealthWhy, cause)
	}
	has(t, name+": its detail", m.Detail, words...)
	has(t, name+": its console", m.Tail, tail)
	has(t, "inspect "+name, b.ok("inspect", name), append(words, cause, tail)...)
	why := b.ok("journal", "why", name)
	has(t, "why "+name, why, append(words, cause, tail, "arcbox start "+name)...)
	if tail != "" && !strings.Contains(why, "\nconsole:\n") {
		t.Errorf("why %s shows no console: %s", name, why)
	}
	b.nothingLeft(t, name+" failed", m, false)
}

// TestKernelsThatFail: kernels that panic, hang, or are none, an initramfs
// that is none, and an agent that never answers.
func TestKernelsThatFail(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	garbage := b.file("garbage", noise(), 0o600)
	gone := b.file("gone", noise(), 0o600)
	for name, flags := range map[string][]string{
		"panics":  {"--cmdline", "rdinit=/nonexistent"},
		"noinit":  {"--initrd", garbage},
		"hangs":   {"--cmdline", "loglevel=7 rdinit=/nonexistent root=/dev/nowhere rootwait"},
		"mute":    {"--cmdline", "loglevel=7 arcbox.test=no-agent"},
		"garbage": {"--kernel", garbage},
		"gone":    {"--kernel", gone},
	} {
		b.ok(append([]string{"create", name, "--memory", "128", "--cpus", "1"}, flags...)...)
	}
	if err := os.Remove(gone); err != nil {
		t.Fatal(err)
	}
	seq := b.engine().Seq
	said := b.refused(t, 2, "start", "gone")
	has(t, "start gone", said.Message, gone, "no such file", "the engine can read")
	if m := b.inspect("gone"); said.Field != "kernel" || m.State != "Created" || b.engine().Seq != seq {
		t.Errorf("a start that was refused: field %q, the machine is %s, %d records", said.Field, m.State, b.engine().Seq-seq)
	}
	b.bare(t, "a start that was refused")

	slow := b.begin("start", "hangs", "mute", "--timeout", "14s")
	text := b.failedStart(t, time.Minute, "panics", "noinit", "garbage")
	has(t, "start", text, "guest-panic", "launch-failed", "The console's last lines", "arcbox journal why panics")
	b.stopped(t, "panics", "guest-panic", "Kernel panic", "Unable to mount root")
	b.stopped(t, "noinit", "guest-panic", "Kernel panic", "Unable to mount root")
	b.stopped(t, "garbage", "launch-failed", "", "QEMU ended at once", "kernel")
	if r := slow.wait(); r.code != 1 || strings.Count(r.err, "agent-timeout") != 2 {
		t.Errorf("start of what hangs: exit %d, %s", r.code, r.err)
	}
	b.stopped(t, "hangs", "agent-timeout", "[    ", "did not answer within 14s")
	b.stopped(t, "mute", "agent-timeout", "[    ", "did not answer within 14s")
	for _, name := range []string{"hangs", "mute"} {
		if !slices.Contains(kinds(b.journal(name)), "relaunched") {
			t.Errorf("%s was not given a second launch: %v", name, kinds(b.journal(name)))
		}
	}
	b.ok("journal", "verify")
	b.ok("rm", "panics", "noinit", "garbage", "gone", "hangs", "mute")
	b.eventually("nothing is left of them", 10*time.Second, func() bool {
		dirs, _ := filepath.Glob(filepath.Join(b.home, "data", "machines", "*"))
		return len(dirs) == 0
	})
	b.bare(t, "rm")
}

// fakeQEMU does what a QEMU in trouble does, by the name of its machine.
const fakeQEMU = `#!/bin/sh
case "$*" in
*guest=dies*) echo "qemu-system-x86_64: cannot set up guest memory 'mem'" >&2; exit 1 ;;
*guest=silent*) exit 3 ;;
*guest=leaves*) sleep 600 & echo "it left a child" >&2; exit 1 ;;
*guest=noisy*) yes "noise on the console" >&6 & exec yes "noise of QEMU" >&2 ;;
*guest=mumbles*) exec yes "no QMP" >&4 ;;
*guest=zeros*) exec cat /dev/zero >&4 ;;
esac
exit 9
`

// TestQEMUInTrouble: a QEMU that ends at once, or that prints without end, on
// whatever it can print. Every start ends, with its words, nothing grows without
// bound, and no process of it lives on.
func TestQEMUInTrouble(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	bin := filepath.Join(b.home, "bin")
	if err := os.Mkdir(bin, 0o700); err != nil {
		t.Fatal(err)
	}
	b.file("bin/qemu-system-x86_64", fakeQEMU, 0o700)
	b.env = []string{"PATH=" + bin + ":" + os.Getenv("PATH")}
	names := []string{"dies", "silent", "leaves", "noisy", "mumbles", "zeros"}
	for _, name := range names {
		b.ok("create", name, "--memory", "128", "--cpus", "1", "--accel", "tcg")
	}
	noisy := b.inspect("noisy")
	begun := b.begin("start", "noisy", "--timeout", "30s")
	text := b.failedStart(t, 30*time.Second, "dies", "silent", "leaves", "mumbles", "zeros")
	has(t, "start", text, "launch-failed", "cannot set up guest memory", "arcbox journal why dies")
	b.stopped(t, "dies", "launch-failed", "", "QEMU ended at once", "exit status 1", "cannot set up guest memory 'mem'")
	b.stopped(t, "silent", "launch-failed", "", "QEMU ended at once", "exit status 3", "said nothing")
	b.stopped(t, "leaves", "launch-failed", "", "QEMU ended at once", "it left a child")
	b.stopped(t, "mumbles", "launch-failed", "", "QMP")
	b.stopped(t, "zeros", "launch-failed", "", "QMP")
	b.bounded(t, noisy)
	if r := begun.wait(); r.code != 1 || !strings.Contains(r.err, "noise of QEMU") {
		t.Errorf("start of a QEMU that prints without end: exit %d, %s", r.code, r.err)
	}
	b.stopped(t, "noisy", "launch-failed", "noise on the console", "noise of QEMU")
	if left := b.lockHolders(); len(left) != 0 {
		t.Errorf("processes are left: %v", left)
	}
	b.ok(append([]string{"rm"}, names...)...)
	b.ok("journal", "verify")
}

// bounded watches a machine whose hypervisor prints without end until its
// console has come round.
func (b *bed) bounded(t *testing.T, m machineView) {
	t.Helper()
	b.eventually("its console came round", 30*time.Second, func() bool {
		_, err := os.Lstat(filepath.Join(m.Dir, "console.log.1"))
		return err == nil
	})
	files, err := filepath.Glob(filepath.Join(m.Dir, "*.*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if info, err := os.Lstat(file); err == nil && info.Size() > 1<<20 {
			t.Errorf("%s has %d bytes", file, info.Size())
		}
	}
	for _, h := range b.holders(vmhostProgram, m.ID) {
		if kib := residentKiB(h.pid); kib > 96<<10 {
			t.Errorf("its VM host takes %d KiB", kib)
		}
	}
}

// TestNoQEMU: without QEMU a machine can be created; its start is refused, and
// says what to install.
func TestNoQEMU(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ env, want string }{
		{"ARCBOX_QEMU=/nowhere/qemu", "/nowhere/qemu"},
		{"ARCBOX_QEMU=/dev/null", "/dev/null"},
		{"PATH=/nowhere", "qemu-system-x86_64"},
	} {
		b := newBed(t)
		b.env = []string{c.env}
		b.ok("create", "a", "--memory", "128", "--cpus", "1")
		for _, args := range []string{"start a", "restart a", "up a"} {
			said := b.refused(t, 1, strings.Fields(args)...)
			has(t, c.env+": "+args, said.Message+" "+said.Hint, "QEMU can't be run", c.want, "apt-get install qemu-system-x86")
		}
		if m, got := b.inspect("a"), fmt.Sprint(kinds(b.journal("a"))); m.State != "Created" || got != "[created]" {
			t.Errorf("%s: it is %s, its records are %s", c.env, m.State, got)
		}
		b.bare(t, c.env)
	}
}

// TestNoVMHost: without its VM host nothing starts, and nothing is recorded. A
// restart that finds it gone says so at once; it is owed, and is carried out when
// there is one again.
func TestNoVMHost(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.bin = filepath.Join(b.home, "bin")
	if err := os.Mkdir(b.bin, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"arcbox", "arcbox-engine", "arcbox-netd", vmhostProgram} {
		if err := copyProgram(filepath.Join(os.Getenv("ARCBOX_BIN"), name), filepath.Join(b.bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	b.ok("engine", "start", "--allow-sim")
	for _, name := range []string{"live", "idle"} {
		b.ok("create", name, "--backend", "sim")
	}
	b.ok("start", "live")
	launch := b.inspect("live").Launch
	host := filepath.Join(b.bin, vmhostProgram)
	if err := os.Rename(host, host+".away"); err != nil {
		t.Fatal(err)
	}
	for _, args := range []string{"start idle", "restart idle"} {
		said := b.refused(t, 1, strings.Fields(args)...)
		has(t, args, said.Message+"\n"+said.Hint, "the VM host can't be run", host, "put arcbox-vmhost beside arcbox-engine")
	}
	if m := b.inspect("idle"); m.State != "Created" {
		t.Errorf("a machine whose start was refused is %s", m.State)
	}
	r := b.run("restart", "live")
	if r.code != 1 {
		t.Errorf("restart live: exit %d, want 1", r.code)
	}
	has(t, "restart live", r.err, "was stopped, and can't be started again", "the VM host can't be run", "tried again until you stop it")
	b.why(t, "live", "Stopped", "it should be started and can't be", "the VM host can't be run")
	if err := os.Rename(host+".away", host); err != nil {
		t.Fatal(err)
	}
	b.ok("wait", "live", "running", "--timeout", "60s")
	if m := b.inspect("live"); m.Launch == launch || m.Health != "ok" {
		t.Errorf("it was launched anew: %+v, before: %s", m, launch)
	}
	if starts := len(b.journal("idle")); starts != 1 {
		t.Errorf("what was refused left %d records", starts-1)
	}
}
