package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/cmd/internal/home"
)

// TestDoctorFindsPlantedFaults: each is told with its remedy, and errors are the exit code.
func TestDoctorFindsPlantedFaults(t *testing.T) {
	root := t.TempDir()
	for _, dir := range []string{"data/machines/01a2", "data/machines/strange", "run"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "log"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(root, "run"), 0o755); err != nil { //nolint:gosec // the fault
		t.Fatal(err)
	}
	b := newBench(t, &fakeEngine{answer: world})
	b.env = func(name string) string {
		return map[string]string{home.Var: root, "ARCBOX_QEMU": filepath.Join(root, "none"), "XDG_CACHE_HOME": root}[name]
	}
	b.now = func() time.Time { return time.Unix(0, 0) }
	if code := b.run(t, "doctor", "--format", "json"); code != exitGeneral {
		t.Errorf("exit %d: %s", code, b.err.String())
	}
	var found []finding
	if err := json.Unmarshal(b.out.Bytes(), &found); err != nil {
		t.Fatal(err)
	}
	for _, want := range []finding{
		{"qemu", gradeError, "none is not there", "apt-get install qemu"},
		{"clock", gradeError, "1970", "timedatectl"},
		{"permissions", gradeError, "log is no directory", "ARCBOX_HOME"},
		{"permissions", gradeWarning, "run has mode 0755", "chmod 700"},
		{"permissions", gradeOK, "data", ""},
		{"unknown directory", gradeWarning, "machines/strange", "move it away"},
		{"engine", gradeOK, "1.0, pid 42", ""},
	} {
		seen := false
		for _, f := range found {
			seen = seen || f.What == want.What && f.Grade == want.Grade && strings.Contains(f.Found, want.Found) && strings.Contains(f.Remedy, want.Remedy)
		}
		if !seen {
			t.Errorf("not found: %v", want)
		}
	}
	for _, f := range found {
		if (f.Remedy == "") != (f.Grade == gradeOK) || strings.Contains(f.Found, "01a2") {
			t.Errorf("%v", f)
		}
	}
}

func TestDoctorsEyes(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none")
	if f := seeKVM(none); f.Grade != gradeWarning || f.Remedy == "" {
		t.Errorf("no kvm: %v", f)
	}
	if f := seeKVM("/dev/null"); f.Grade != gradeOK {
		t.Errorf("kvm: %v", f)
	}
	if f := seeProgram("no-such-program", "get it", none); f.Grade != gradeWarning || f.Remedy != "get it" {
		t.Errorf("no program: %v", f)
	}
	if f := seeProgram("no-such-program", "get it", "/bin/sh"); f.Grade != gradeOK {
		t.Errorf("a program: %v", f)
	}
	if f := seeForeign(home.Home{}); f.Grade != gradeOK || !strings.Contains(f.Found, "qemu-system-") {
		t.Errorf("another architecture: %v", f)
	}
	t.Setenv("PATH", none)
	other := foreigners[runtime.GOARCH]
	if f := seeForeign(home.Home{}); f.Grade != gradeOK || !strings.Contains(f.Found, other.remedy) {
		t.Errorf("another architecture without its QEMU: %v", f)
	}
	if f, lacks := lacking(&wire.Machine{Name: "web", Spec: &wire.Spec{Arch: other.arch}}); !lacks || f.Grade != gradeError || f.Remedy != other.remedy || !strings.Contains(f.Found, "web") {
		t.Errorf("a machine of it: %v, %v", f, lacks)
	}
	if f, lacks := lacking(&wire.Machine{Spec: &wire.Spec{Arch: runtime.GOARCH}}); lacks {
		t.Errorf("a machine of this host's architecture: %v", f)
	}
	if f := seeSpace(none); !strings.Contains(f.Found, "MiB free") {
		t.Errorf("space: %v", f)
	}
}

// TestDoctorWithoutAnEngine: the journal says which directories are machines', and none
// is called unknown where it can't be read.
func TestDoctorWithoutAnEngine(t *testing.T) {
	root := t.TempDir()
	for _, dir := range []string{"data/machines/01a2", "data/machines/strange"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	program := filepath.Join(root, "engine")
	for script, want := range map[string][]finding{
		`[ "$3" = ask ] && echo '{"machines": [{"id": "01a2", "name": "web", "stray": true}]}'`: {
			{"unknown directory", gradeWarning, "machines/strange", "move it away"}, {"stray", gradeError, "a VM of web", "arcbox stop web"},
		},
		"echo damaged >&2; exit 1": {{"machines", gradeError, "the journal can't be read", "arcbox journal verify"}},
	} {
		if err := os.WriteFile(program, []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil { //nolint:gosec // to be run
			t.Fatal(err)
		}
		b := newBench(t, nil)
		b.env = func(name string) string { return map[string]string{home.Var: root, engineVar: program}[name] }
		h, err := b.home()
		if err != nil {
			t.Fatal(err)
		}
		got := b.seeMachines(t.Context(), h)
		for _, w := range want {
			if !slices.ContainsFunc(got, func(f finding) bool {
				return f.What == w.What && f.Grade == w.Grade && strings.Contains(f.Found, w.Found) && strings.Contains(f.Remedy, w.Remedy)
			}) {
				t.Errorf("%s: %v was not found in %v", script, w, got)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%s: %v", script, got)
		}
	}
}
