package hosts

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/arcboxlabs/arcbox-engine/actors"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/fsm"
	"github.com/arcboxlabs/arcbox-engine/guest/boot"
	"github.com/arcboxlabs/arcbox-engine/guest/kernel"
	"github.com/arcboxlabs/arcbox-engine/hv"
)

// store is a store with a bundle for an architecture, in which nothing can boot.
func store(t *testing.T, arch string) *kernel.Store {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"boot/vmlinuz-6.1": "image", "lib/modules/6.1/modules.builtin": ""} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := kernel.Pack(dir, arch, "", time.Now()); err != nil {
		t.Fatal(err)
	}
	s := kernel.Open(filepath.Join(t.TempDir(), "kernels"))
	if _, err := s.Import(t.Context(), dir, "ours"); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestKernelRefuses: a kernel that a machine can't have is refused by name.
func TestKernelRefuses(t *testing.T) {
	other := map[string]string{"amd64": "arm64", "arm64": "amd64"}[runtime.GOARCH]
	used := store(t, runtime.GOARCH)
	if err := used.Use(t.Context(), "ours"); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		store *kernel.Store
		spec  string
		code  wire.Code
		says  string
	}{
		"not there":     {store(t, runtime.GOARCH), "nobody", wire.Code_CODE_NOT_FOUND, `kernel "nobody": no such kernel`},
		"another host":  {store(t, other), "ours", wire.Code_CODE_BAD_INPUT, "it is for " + other},
		"can't be made": {store(t, runtime.GOARCH), "ours", wire.Code_CODE_LACKING, `kernel "ours"`},
		"the used one":  {used, "", wire.Code_CODE_LACKING, `kernel "ours"`},
		"none prepared": {store(t, runtime.GOARCH), "", wire.Code_CODE_LACKING, "no kernel and initramfs"},
		"by its name":   {used, kernel.Default, wire.Code_CODE_LACKING, "no kernel and initramfs"},
		"no store":      {nil, "", wire.Code_CODE_LACKING, "no kernel and initramfs"},
	} {
		w := New(Options{Boot: []string{t.TempDir()}, Agent: "/nobody", Kernels: c.store, Logger: slog.New(slog.DiscardHandler)})
		_, err := w.assets(t.Context(), fsm.Spec{Backend: "qemu", Kernel: c.spec})
		got, ok := errors.AsType[*actors.Refusal](err)
		if !ok || got.Code != c.code || got.Hint == "" || !strings.Contains(got.Message, c.says) {
			t.Errorf("%s: %+v", name, err)
		}
	}
	foreign := fsm.Spec{Backend: "qemu", Arch: other}
	w := New(Options{Boot: []string{t.TempDir()}, Agent: "/nobody", Kernels: used, Logger: slog.New(slog.DiscardHandler)})
	for kernel, says := range map[string]string{
		"":     "for " + other, // not the used one, which is for others
		"ours": "it is for " + runtime.GOARCH + ", the machine is " + other,
	} {
		foreign.Kernel = kernel
		_, err := w.assets(t.Context(), foreign)
		if got, ok := errors.AsType[*actors.Refusal](err); !ok || !strings.Contains(got.Message, says) || got.Hint == "" {
			t.Errorf("kernel %q of a machine of another architecture: %+v", kernel, err)
		}
	}
	w = New(Options{Kernels: used, Logger: slog.New(slog.DiscardHandler)})
	b, err := w.assets(t.Context(), fsm.Spec{Backend: "qemu", Kernel: "/k", Initrd: "/i"})
	if err != nil || b.Kernel != "/k" || b.Initrd != "/i" || b.name != "" {
		t.Errorf("files of its own: %+v, %v", b, err)
	}
}

func TestBoard(t *testing.T) {
	tcg := kernel.Boots{Board: "microvm", Accel: "tcg", Count: kernel.Enough}
	kvm := kernel.Boots{Board: "microvm", Accel: "kvm", Count: kernel.Enough}
	for _, c := range []struct {
		spec  string
		boots []kernel.Boots
		board hv.Board
		accel hv.Accel
	}{
		{"", nil, "", ""},
		{"q35", []kernel.Boots{tcg}, "", ""},
		{"microvm", nil, hv.BoardMicroVM, ""},
		{"", []kernel.Boots{tcg}, hv.BoardMicroVM, hv.AccelTCG},
		{"", []kernel.Boots{tcg, kvm}, hv.BoardMicroVM, hv.AccelAuto},
	} {
		if b, a := board(fsm.Spec{Board: c.spec}, c.boots); b != c.board || a != c.accel {
			t.Errorf("%q with %v: %q, %q", c.spec, c.boots, b, a)
		}
	}
}

// A machine with an image gets the modules of its kernel behind all its disks; one
// whose kernel is a file, or that has no image, gets none.
func TestWithModules(t *testing.T) {
	from := booted{Assets: boot.Assets{Tree: "/modules"}}
	for _, c := range []struct {
		spec fsm.Spec
		from booted
		want string
	}{
		{fsm.Spec{Image: "sha256:1"}, from, "arcbox.modules=disk quiet"},
		{fsm.Spec{}, from, "quiet"},
		{fsm.Spec{Image: "sha256:1"}, booted{}, "quiet"},
	} {
		s := hv.Spec{Cmdline: "quiet", Disks: []hv.Disk{{Path: "/block"}}}
		withModules(&s, c.spec, c.from)
		if s.Cmdline != c.want {
			t.Errorf("command line %q, want %q", s.Cmdline, c.want)
		}
		if has := len(s.Disks) == 2; has != (c.want != "quiet") || has && (s.Disks[1] != hv.Disk{Path: "/modules", ReadOnly: true, Serial: "modules"}) {
			t.Errorf("disks %+v", s.Disks)
		}
	}
}
