package boot

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cavaliergopher/cpio"
)

// fakeHost has all that Prepare wants: a kernel tree, an agent and a busybox.
func fakeHost(t *testing.T) PrepareOptions {
	t.Helper()
	dir := t.TempDir()
	tree := filepath.Join(dir, "tree")
	vmlinux := pvhELF()
	write(t, filepath.Join(tree, "boot/vmlinuz-6.1.0"), fakeImage(withSize(lz4ed, pack(t, lz4ed, vmlinux), len(vmlinux))))
	debianModules(t, filepath.Join(tree, "lib/modules/6.1.0"), plain)
	return PrepareOptions{
		KernelTree: tree,
		Busybox:    buildBusybox(t),
		Agent:      write(t, filepath.Join(dir, "agent"), fakeELF([]byte("agent"))),
		Out:        filepath.Join(dir, "out"),
	}
}

// buildBusybox writes the smallest program that does what is asked of busybox
// here: print a few names. It is machine code, so that it is static and runs
// without a compiler.
func buildBusybox(t *testing.T) string {
	t.Helper()
	const list = "busybox\nls\nsh\n[\n"
	code := []byte{
		0xb8, 1, 0, 0, 0, // mov eax, write
		0xbf, 1, 0, 0, 0, // mov edi, stdout
		0x48, 0x8d, 0x35, 16, 0, 0, 0, // lea rsi, [rip+16]
		0xba, byte(len(list)), 0, 0, 0, // mov edx, length
		0x0f, 0x05, // syscall
		0xb8, 60, 0, 0, 0, // mov eax, exit
		0x31, 0xff, // xor edi, edi
		0x0f, 0x05, // syscall
	}
	code = append(code, list...)
	program := fakeELF(nil)
	const base = 0x400000
	le := func(at int, v uint64) {
		for i := range 8 {
			program[at+i] = byte(v >> (8 * i))
		}
	}
	size := uint64(len(program) + len(code))
	le(24, base+uint64(len(program))) // entry
	le(64, 1|5<<32)                   // PT_LOAD, readable and executable
	le(72, 0)                         // offset
	le(80, base)
	le(88, base)
	le(96, size)
	le(104, size)
	le(112, 0x1000)
	return write(t, filepath.Join(t.TempDir(), "busybox"), append(program, code...))
}

func TestPrepare(t *testing.T) {
	o := fakeHost(t)
	a, err := Prepare(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if a.Release != "6.1.0" || !a.Vmlinux || !slices.Equal(a.Missing, []string{"evdev", "overlay", "virtiofs", "binfmt_misc"}) {
		t.Errorf("assets %+v", a)
	}
	if kernel, err := os.ReadFile(a.Kernel); err != nil || !bytes.Equal(kernel, pvhELF()) {
		t.Errorf("kernel: %d bytes, %v", len(kernel), err)
	}
	initrd, err := os.ReadFile(a.Initrd)
	if err != nil {
		t.Fatal(err)
	}
	files := contents(t, initrd)
	for name, want := range map[string]struct {
		mode cpio.FileMode
		body string
	}{
		"init":                            {cpio.TypeReg | 0o755, string(fakeELF([]byte("agent")))},
		"bin/sh":                          {cpio.TypeSymlink | 0o777, "busybox"},
		"bin/[":                           {cpio.TypeSymlink | 0o777, "busybox"},
		"sbin":                            {cpio.TypeSymlink | 0o777, "bin"},
		"tmp":                             {cpio.TypeDir | 0o1777, ""},
		"arcbox":                          {cpio.TypeDir | 0o700, ""},
		"etc/passwd":                      {cpio.TypeReg | 0o644, guestFiles[0][1]},
		"lib/modules/6.1.0/virtio_rng.ko": {cpio.TypeReg | 0o644, string(fakeModule("virtio", "rng-core"))},
	} {
		h := files[name]
		if h == nil {
			t.Errorf("%s is missing", name)
			continue
		}
		if h.Mode != want.mode || h.Linkname != want.body {
			t.Errorf("%s: mode %o and %.20q, want %o and %.20q", name, h.Mode, h.Linkname, want.mode, want.body)
		}
	}
	order := strings.Fields(files["lib/modules.order"].Linkname)
	if len(order) != len(a.Modules) || order[0] != "/lib/modules/6.1.0/pvpanic.ko" {
		t.Errorf("modules.order: %v", order)
	}
	for _, p := range order {
		if files[strings.TrimPrefix(p, "/")] == nil {
			t.Errorf("modules.order names %s, which is missing", p)
		}
	}
}

// What a machine with an image has beyond has the modules that the others lack,
// and those alone.
func TestPrepareRoot(t *testing.T) {
	a, err := Prepare(t.Context(), fakeHost(t))
	if err != nil {
		t.Fatal(err)
	}
	root, err := os.ReadFile(a.Root)
	if err != nil {
		t.Fatal(err)
	}
	files := contents(t, root)
	order := strings.Fields(files["lib/modules.root"].Linkname)
	want := []string{"libcrc32c", "btrfs", "erofs"}
	for i, name := range want {
		want[i] = "/lib/modules/6.1.0/" + name + ".ko"
	}
	if !slices.Equal(order, want) {
		t.Errorf("modules.root: %v, want %v", order, want)
	}
	if len(files) != len(order)+4 { // the list and three directories
		t.Errorf("the archive has %v", slices.Sorted(maps.Keys(files)))
	}
	for _, p := range order {
		if files[strings.TrimPrefix(p, "/")] == nil {
			t.Errorf("modules.root names %s, which is missing", p)
		}
	}
}

// A second run finds the first one's result, other inputs lead elsewhere, and
// what was asked for last is what Find returns.
func TestPrepareTwice(t *testing.T) {
	o := fakeHost(t)
	first, err := Prepare(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(first.Initrd)
	if err != nil {
		t.Fatal(err)
	}
	setUsed(t, first, time.Hour)
	again, err := Prepare(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	after, err := os.Stat(again.Initrd)
	if err != nil {
		t.Fatal(err)
	}
	if again.Digest != first.Digest || !os.SameFile(before, after) {
		t.Error("the second run made the files anew")
	}
	other := o
	other.Agent = write(t, filepath.Join(t.TempDir(), "agent"), fakeELF([]byte("newer")))
	second, err := Prepare(t.Context(), other)
	if err != nil {
		t.Fatal(err)
	}
	if second.Digest == first.Digest || second.Initrd == first.Initrd {
		t.Error("another agent gave the same assets")
	}
	setUsed(t, second, time.Minute)
	for _, c := range []struct {
		o    PrepareOptions
		want string
	}{{other, second.Digest}, {o, first.Digest}} {
		if _, err := Prepare(t.Context(), c.o); err != nil {
			t.Fatal(err)
		}
		found, err := Find("amd64", filepath.Join(t.TempDir(), "nothing"), o.Out)
		if err != nil || found.Digest != c.want {
			t.Errorf("found %s, %v; want %s", found.Digest, err, c.want)
		}
		setUsed(t, found, time.Second)
	}
}

// setUsed makes assets look as if asked for a while ago.
func setUsed(t *testing.T, a Assets, ago time.Duration) {
	t.Helper()
	at := time.Now().Add(-ago)
	if err := os.Chtimes(filepath.Join(filepath.Dir(a.Kernel), manifestName), at, at); err != nil {
		t.Fatal(err)
	}
}

func TestPrepareRepairsDamage(t *testing.T) {
	o := fakeHost(t)
	a, err := Prepare(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(a.Initrd)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(a.Initrd, 10); err != nil {
		t.Fatal(err)
	}
	if _, err := Find("amd64", o.Out); !errors.Is(err, ErrNotPrepared) || !strings.Contains(err.Error(), "10 bytes, the manifest says") {
		t.Errorf("Find on damage: %v", err)
	}
	if _, err := Prepare(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(a.Initrd); err != nil || !bytes.Equal(got, whole) {
		t.Errorf("the same inputs gave other bytes (%d, not %d), %v", len(got), len(whole), err)
	}
}

func TestPrepareAtOnce(t *testing.T) {
	o := fakeHost(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := Prepare(t.Context(), o); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	entries, err := os.ReadDir(o.Out)
	if err != nil || len(entries) != 1 {
		t.Errorf("%d entries, want 1: %v", len(entries), err)
	}
}

func TestPrepareKeepsFew(t *testing.T) {
	o := fakeHost(t)
	var last Assets
	for i := range keep + 2 {
		o.Agent = write(t, filepath.Join(t.TempDir(), "agent"), fakeELF(fmt.Append(nil, "agent ", i)))
		a, err := Prepare(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		setUsed(t, a, time.Duration(keep+2-i)*time.Minute)
		last = a
	}
	found, damaged := scan(o.Out)
	if len(found) != keep || len(damaged) != 0 || found[0].Digest != last.Digest {
		t.Errorf("%d assets stay (%v), want %d", len(found), damaged, keep)
	}
}

func TestPrepareRefusals(t *testing.T) {
	good := fakeHost(t)
	dynamic := fakeELF(nil)
	dynamic[64] = 3 // PT_INTERP
	text := write(t, filepath.Join(t.TempDir(), "text"), []byte("text"))
	for name, c := range map[string]struct {
		change func(*PrepareOptions)
		says   string
	}{
		"no tree":         {func(o *PrepareOptions) { o.KernelTree = t.TempDir() }, "kernel tree"},
		"no agent":        {func(o *PrepareOptions) { o.Agent = "/nowhere/agent" }, "guest agent"},
		"agent is text":   {func(o *PrepareOptions) { o.Agent = text }, "not a Linux program"},
		"dynamic agent":   {func(o *PrepareOptions) { o.Agent = write(t, filepath.Join(t.TempDir(), "a"), dynamic) }, "needs shared libraries"},
		"busybox is text": {func(o *PrepareOptions) { o.Busybox = text }, "busybox"},
		"busybox is mute": {func(o *PrepareOptions) { o.Busybox = o.Agent }, "busybox applets"},
		"out is a file":   {func(o *PrepareOptions) { o.Out = text }, "boot assets"},
	} {
		t.Run(name, func(t *testing.T) {
			o := good
			c.change(&o)
			_, err := Prepare(t.Context(), o)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %v, want %q in it", err, c.says)
			}
			if left, _ := os.ReadDir(good.Out); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestReadAssetsRefusals(t *testing.T) {
	for name, manifest := range map[string]string{
		"not JSON":     "{",
		"newer layout": `{"layout": 99}`,
		"path outside": `{"layout": 2, "kernel": "../../etc/passwd", "initrd": "initrd"}`,
		"absolute":     `{"layout": 2, "kernel": "/etc/passwd", "initrd": "initrd"}`,
		"file missing": `{"layout": 2, "kernel": "kernel", "initrd": "initrd"}`,
	} {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "x", manifestName), []byte(manifest))
		if _, err := Find("amd64", dir); !errors.Is(err, ErrNotPrepared) || !strings.Contains(err.Error(), "unusable") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Find("amd64", t.TempDir()); !errors.Is(err, ErrNotPrepared) || !strings.Contains(err.Error(), "arcbox-engine prepare") {
		t.Errorf("empty: %v", err)
	}
}
