//go:build vm

package e2e

import (
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/cavaliergopher/cpio"
)

// TestModules: a machine with an image has the modules of the kernel that it runs,
// and modprobe finds them, with what they depend on. Nobody in it can change them.
func TestModules(t *testing.T) {
	b := newBed(t)
	b.ok("image", "import", b.rootOf("shell", busybox(t), "sh", "modprobe", "lsmod", "uname", "ls", "grep", "touch"), "--name", "shell")
	b.ok("up", "a", "--image", "shell", "--disk", "256M", "--memory", "512", "--cpus", "1", "--timeout", "3m")
	in := func(script string) string {
		return b.ok("exec", "a", "--", "sh", "-c", "cd /lib/modules/$(uname -r) && "+script)
	}
	for _, name := range []string{"modules.dep.bin", "modules.alias.bin", "modules.builtin.bin", "modules.nodes"} {
		in("test -f " + name)
	}
	if got := in("ls /lib/modules"); strings.Contains(got, "\n") || got != in("uname -r") {
		t.Errorf("/lib/modules has %q", got)
	}
	// Each kernel has it in its own way: built in, or as a module that needs another.
	for _, module := range []string{"macvlan", "ip_tables", "overlay"} {
		in("modprobe " + module)
		in("grep -q /" + module + ".ko modules.builtin || { lsmod && lsmod | grep -q ^" + module + "; }")
	}
	// To open a device is enough, where a module serves it.
	in("exec 3</dev/fuse && { grep -q /fuse.ko modules.builtin || lsmod | grep -q ^fuse; }")
	if r := b.run("exec", "a", "--", "modprobe", "nobody"); r.code == 0 {
		t.Error("a module that is not there was loaded")
	}
	if r := b.run("exec", "a", "--", "sh", "-c", "touch /lib/modules/$(uname -r)/x"); r.code == 0 || !strings.Contains(r.err, "Read-only") {
		t.Errorf("it can be written to: exit %d, %s", r.code, r.err)
	}
	b.ok("rm", "-f", "a")
	b.ok("image", "rm", "shell")
}

// busybox is that of the initramfs.
func busybox(t *testing.T) []byte {
	t.Helper()
	f, err := os.Open(os.Getenv("ARCBOX_TEST_INITRD"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for r := cpio.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			t.Fatal("the initramfs has no bin/busybox")
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Name == "bin/busybox" {
			program, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			return program
		}
	}
}
