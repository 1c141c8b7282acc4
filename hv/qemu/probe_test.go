package qemu

import (
	"bytes"
	"debug/elf"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/arcboxlabs/arcbox-engine/hv"
)

func TestProbeWithoutQEMU(t *testing.T) {
	if _, err := Probe(t.Context(), "no-such-qemu"); !errors.Is(err, ErrNotFound) {
		t.Fatalf("error %v", err)
	}
	r := ProbeCached(t.Context(), filepath.Join(t.TempDir(), "cache"), "no-such-qemu", "boot")
	if r.Accel != hv.AccelTCG || !strings.Contains(r.Note, "not installed") {
		t.Fatalf("result %+v", r)
	}
}

func TestProbeCache(t *testing.T) {
	dir := t.TempDir()
	file, qemu := filepath.Join(dir, "cache"), filepath.Join(dir, "qemu")
	if err := os.WriteFile(qemu, []byte("1"), 0o755); err != nil {
		t.Fatal(err)
	}
	key, err := keyOf(qemu, "boot-1")
	if err != nil {
		t.Fatal(err)
	}
	want := Result{hv.AccelKVM, "it ran"}
	if err := writeCache(file, key, want); err != nil {
		t.Fatal(err)
	}
	if r, ok := readCache(file, key); !ok || r != want {
		t.Fatalf("read %+v, %v", r, ok)
	}
	other, _ := keyOf(qemu, "boot-2")
	if _, ok := readCache(file, other); ok {
		t.Fatal("a result of another boot was taken")
	}
	if err := os.WriteFile(qemu, []byte("22"), 0o755); err != nil {
		t.Fatal(err)
	}
	if changed, _ := keyOf(qemu, "boot-1"); changed == key {
		t.Fatal("another QEMU has the same key")
	}
	if left, _ := filepath.Glob(file + ".*"); len(left) > 0 {
		t.Fatalf("left behind: %v", left)
	}
}

func TestProbeCacheThatCannotBeBelieved(t *testing.T) {
	file := filepath.Join(t.TempDir(), "cache")
	for _, text := range []string{"", "{", `{"version":1,"boot":"b","path":"p","accel":"warp"}`, `{"accel":"kvm"}`} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if r, ok := readCache(file, probeKey{Version: 1, Boot: "b", Path: "p"}); ok {
			t.Errorf("%q gave %+v", text, r)
		}
	}
}

// QEMU loads the probe's kernel by these; a slip here would read as "no KVM".
func TestProbeKernelIsAPVHKernel(t *testing.T) {
	f, err := elf.NewFile(bytes.NewReader(probeKernel()))
	if err != nil {
		t.Fatal(err)
	}
	if f.Machine != elf.EM_X86_64 || f.Entry != probeBase || len(f.Progs) != 2 {
		t.Fatalf("header %+v", f.FileHeader)
	}
	note := make([]byte, f.Progs[1].Filesz)
	if _, err := f.Progs[1].ReadAt(note, 0); err != nil {
		t.Fatal(err)
	}
	if want := "\x04\x00\x00\x00\x08\x00\x00\x00\x12\x00\x00\x00Xen\x00\x00\x00\x10\x00\x00\x00\x00\x00"; string(note) != want {
		t.Fatalf("note %q", note)
	}
	if gdt := probeCode[0x60:]; len(gdt) != 16 {
		t.Fatalf("the GDT is not at 0x60: %d bytes follow", len(gdt))
	}
}

// A cache is believed where it is of this host, this boot and this binary, and
// says one of two things; anything else costs a probe.
func FuzzProbeCache(f *testing.F) {
	key := probeKey{probeVersion, "boot", "/usr/bin/qemu", 1, 2}
	for _, c := range []probeCache{{key, Result{hv.AccelKVM, "n"}}, {key, Result{"hvf", "n"}}, {probeKey{}, Result{hv.AccelTCG, ""}}} {
		data, err := json.Marshal(c)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
		f.Add(data[:len(data)/2])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file := filepath.Join(t.TempDir(), "accel")
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		r, ok := readCache(file, key)
		if !ok {
			if r != (Result{}) {
				t.Errorf("not believed, but %+v", r)
			}
			return
		}
		var c probeCache
		if err := json.Unmarshal(data, &c); err != nil || c.probeKey != key || r.Accel != hv.AccelKVM && r.Accel != hv.AccelTCG {
			t.Errorf("believed %q: %+v, %v", data, r, err)
		}
		if err := writeCache(file, key, r); err != nil {
			t.Fatal(err)
		}
		if again, ok := readCache(file, key); !ok || again != r {
			t.Errorf("%+v became %+v, %v", r, again, ok)
		}
	})
}
