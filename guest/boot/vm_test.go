//go:build vm

package boot

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// vmAssets builds the tests' init and prepares assets with it and the kernel of
// this host's distribution.
func vmAssets(t *testing.T) Assets {
	t.Helper()
	agent := filepath.Join(t.TempDir(), "init")
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", agent, "./testdata/init")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building init: %v\n%s", err, out)
	}
	a, err := Prepare(t.Context(), PrepareOptions{
		KernelTree: os.Getenv("ARCBOX_TEST_KERNEL_TREE"),
		Agent:      agent,
		Out:        filepath.Join(t.TempDir(), "boot"),
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// boot runs a guest to its end and returns its console.
func boot(t *testing.T, kernel, initrd string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	var console bytes.Buffer
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", "-M", "q35", "-accel", "tcg,thread=multi",
		"-cpu", "qemu64,+rdrand", "-m", "256", "-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio",
		"-device", "pvpanic-pci", "-device", "virtio-serial-pci",
		"-kernel", kernel, "-initrd", initrd,
		"-append", "console=ttyS0 quiet panic=-1 random.trust_cpu=on cryptomgr.notests no_timer_check")
	cmd.Stdout, cmd.Stderr = &console, &console
	if err := cmd.Run(); err != nil {
		t.Fatalf("guest: %v\n%s", err, console.String())
	}
	return console.String()
}

// TestPreparedAssetsBoot is the whole way: packages, kernel, modules, initramfs
// and token, on a real kernel.
func TestPreparedAssetsBoot(t *testing.T) {
	a := vmAssets(t)
	initrd := filepath.Join(t.TempDir(), "initrd")
	if err := AppendToken(initrd, []byte("secret"), nil, a.Initrd, a.Root); err != nil {
		t.Fatal(err)
	}
	console := boot(t, a.Kernel, initrd)
	for _, want := range []string{"TOKEN secret 400", "modules by busybox <nil>"} {
		if !strings.Contains(console, want) {
			t.Errorf("console lacks %q", want)
		}
	}
	if strings.Contains(console, "MODULE") || strings.Contains(console, "FAILED") {
		t.Error("the guest reports a fault")
	}
	t.Logf("release %s, vmlinux %v, modules %v, missing %v", a.Release, a.Vmlinux, a.Modules, a.Missing)
	if t.Failed() {
		t.Log(console)
	}
}
