package hosts

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/arcboxlabs/arcbox-engine/actors"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/fsm"
)

// TestPrepareRefuses: what a launch lacks is said before anything is made.
func TestPrepareRefuses(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("x"), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	qemu, kernel := file("qemu", 0o700), file("kernel", 0o600)
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	ok := fsm.Spec{Backend: "qemu", Kernel: kernel, Initrd: kernel}
	for name, c := range map[string]struct {
		host string // "" = one that can be run
		qemu string
		spec fsm.Spec
		run  string
		want actors.Refusal // its message is a part
	}{
		"no VM host":      {"no-such-vmhost", qemu, ok, "run", actors.Refusal{Code: wire.Code_CODE_LACKING, Message: "the VM host can't be run", Hint: "put arcbox-vmhost beside arcbox-engine, or into its PATH"}},
		"no VM host, sim": {kernel, qemu, fsm.Spec{Backend: "sim"}, "run", actors.Refusal{Code: wire.Code_CODE_LACKING, Message: "permission denied", Hint: "put arcbox-vmhost beside arcbox-engine, or into its PATH"}},
		"no QEMU":         {"", filepath.Join(dir, "nobody"), ok, "run", actors.Refusal{Code: wire.Code_CODE_LACKING, Message: "no such file", Hint: "apt-get install qemu-system-x86"}},
		"no program":      {"", kernel, ok, "run", actors.Refusal{Code: wire.Code_CODE_LACKING, Message: "permission denied", Hint: "apt-get install qemu-system-x86"}},
		"not in PATH":     {"", "no-such-qemu", ok, "run", actors.Refusal{Code: wire.Code_CODE_LACKING, Message: "not found in $PATH", Hint: "apt-get install qemu-system-x86"}},
		"nothing to boot": {"", qemu, fsm.Spec{Backend: "qemu"}, "run", actors.Refusal{Code: wire.Code_CODE_LACKING, Message: dir, Hint: "./task up"}},
		"no kernel": {
			"", qemu, fsm.Spec{Backend: "qemu", Kernel: "/nobody", Initrd: kernel}, "run",
			actors.Refusal{Code: wire.Code_CODE_BAD_INPUT, Field: "kernel", Message: `kernel "/nobody": a file that the engine can read is needed: no such file or directory`, Hint: "ls -l /nobody"},
		},
		"initrd is a directory": {
			"", qemu, fsm.Spec{Backend: "qemu", Kernel: kernel, Initrd: dir}, "run",
			actors.Refusal{Code: wire.Code_CODE_BAD_INPUT, Field: "initrd", Message: "not a regular file", Hint: "ls -l " + dir},
		},
		"initrd is a device": {
			"", qemu, fsm.Spec{Backend: "qemu", Kernel: kernel, Initrd: "/dev/null"}, "run",
			actors.Refusal{Code: wire.Code_CODE_BAD_INPUT, Field: "initrd", Message: "not a regular file", Hint: "ls -l /dev/null"},
		},
		"kernel is empty": {
			"", qemu, fsm.Spec{Backend: "qemu", Kernel: empty, Initrd: kernel}, "run",
			actors.Refusal{Code: wire.Code_CODE_BAD_INPUT, Field: "kernel", Message: "it is empty", Hint: "ls -l " + empty},
		},
		"sockets too far down": {
			"", qemu, ok, strings.Repeat("x", 100),
			actors.Refusal{Code: wire.Code_CODE_BAD_INPUT, Field: "ARCBOX_HOME", Message: "at most 103", Hint: "set ARCBOX_HOME to a shorter path"},
		},
	} {
		if c.host == "" {
			c.host = qemu
		}
		w := New(Options{Machines: filepath.Join(dir, "machines"), Run: filepath.Join(dir, c.run), VMHost: c.host, QEMU: c.qemu, Boot: []string{dir}})
		_, _, err := w.Prepare(t.Context(), actors.Ref{ID: "m", Name: "m", RunTag: "m"}, c.spec, nil)
		got, isRefusal := errors.AsType[*actors.Refusal](err)
		if !isRefusal || got.Code != c.want.Code || got.Field != c.want.Field || got.Hint != c.want.Hint || !strings.Contains(got.Message, c.want.Message) {
			t.Errorf("%s: %+v, want %+v", name, err, c.want)
		}
		if _, err := os.Stat(w.Machines); err == nil {
			t.Errorf("%s: a directory was made", name)
		}
	}
}
