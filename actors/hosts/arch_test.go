package hosts

import (
	"strings"
	"testing"

	"github.com/arcboxlabs/arcbox-engine/fsm"
	"github.com/arcboxlabs/arcbox-engine/hv"
)

// What an engine was told of QEMU holds for machines of its host's architecture
// alone; the others have their own.
func TestQEMUOfAnArchitecture(t *testing.T) {
	w := New(Options{QEMU: "/opt/qemu"})
	for _, arch := range hv.Archs {
		got := w.qemu(arch)
		if own := arch == hv.HostArch; (got == "/opt/qemu") != own || !own && !strings.HasPrefix(got, "qemu-system-") {
			t.Errorf("%s: %s", arch, got)
		}
	}
	if got := archOf(fsm.Spec{}); got != hv.HostArch {
		t.Errorf("a machine that names none: %s", got)
	}
	if b, accel := board(fsm.Spec{Arch: "arm64", Board: "microvm"}, nil); b != "" || accel != "" {
		t.Errorf("an arm64 machine: %q, %q", b, accel)
	}
}
