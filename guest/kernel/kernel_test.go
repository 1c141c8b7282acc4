package kernel

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/arcboxlabs/arcbox-engine/guest/files"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// tree makes a packed bundle of a release; what marks its image.
func tree(t *testing.T, release, what string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"boot/vmlinuz-" + release:                       "image " + what,
		"boot/config-" + release:                        "CONFIG_X=y\n",
		"lib/modules/" + release + "/modules.builtin":   "kernel/fs/btrfs/btrfs.ko\n",
		"lib/modules/" + release + "/kernel/fs/deep.ko": "module",
	} {
		put(t, filepath.Join(dir, name), text)
	}
	if _, err := Pack(dir, "amd64", "linux-source 6.1", noon); err != nil {
		t.Fatal(err)
	}
	return dir
}

func put(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// tarOf is a directory as a tar, with an entry more.
func tarOf(t *testing.T, dir string, more ...tar.Header) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	if err := w.AddFS(os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	for _, h := range more {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "bundle.tar.gz")
	put(t, name, b.String())
	return name
}

func nobody(string) ([]string, error) { return nil, nil }

func TestImport(t *testing.T) {
	ctx := t.Context()
	dir := filepath.Join(t.TempDir(), "kernels")
	s := Open(dir)
	if all, err := s.List(); err != nil || len(all) != 0 {
		t.Fatalf("without a directory: %v, %v", all, err)
	}
	one := tree(t, "6.1.2-arcbox", "one")
	b, err := s.Import(ctx, one, "")
	if err != nil || b.Name != "6.1.2-arcbox" || b.Config == "" || len(b.Files) != 4 || b.Used {
		t.Fatalf("%+v, %v", b, err)
	}
	if b.Modules == "" || b.Modules == b.Digest {
		t.Errorf("the digest of its modules is %q", b.Modules)
	}
	if b, err = s.Import(ctx, tarOf(t, one), "second"); err != nil || b.Name != "second" {
		t.Fatalf("of a tar: %+v, %v", b, err)
	}
	if err := verify(b.Dir, b.Manifest); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Import(ctx, one, ""); err != nil {
		t.Fatalf("the same again: %v", err)
	}
	if _, err := s.Import(ctx, tree(t, "6.1.2-arcbox", "two"), ""); !errors.Is(err, ErrExists) {
		t.Fatalf("another of that name: %v", err)
	}
	all, err := s.List()
	if err != nil || len(all) != 2 {
		t.Fatalf("%v, %v", all, err)
	}
	entries, _ := os.ReadDir(dir)
	if len(entries) != 3 { // and the lock
		t.Fatalf("left in the store: %v", entries)
	}
}

func TestImportRefuses(t *testing.T) {
	long := strings.Repeat("x", 65)
	for name, c := range map[string]struct {
		name string
		make func(t *testing.T) string
		want error // nil = any: that of a root has no name
	}{
		"nothing":     {"", func(t *testing.T) string { return t.TempDir() }, ErrNoBundle},
		"no tar":      {"", func(t *testing.T) string { return tarName(t, "not a tar at all, but long enough") }, ErrNoBundle},
		"empty":       {"", func(t *testing.T) string { return tarName(t, "") }, ErrNoBundle},
		"not there":   {"", func(*testing.T) string { return "/nobody" }, os.ErrNotExist},
		"name":        {"Up", good, ErrName},
		"long name":   {long, good, ErrName},
		"dots":        {"..", good, ErrName},
		"default":     {Default, good, ErrName},
		"cut file":    {"", spoiled("boot/vmlinuz-6.1", "imag"), ErrDamaged},
		"other bytes": {"", spoiled("boot/vmlinuz-6.1", "image two"), ErrDamaged},
		"more bytes":  {"", spoiled("boot/vmlinuz-6.1", "image one and more"), ErrDamaged},
		"missing": {"", func(t *testing.T) string {
			dir := good(t)
			if err := os.Remove(filepath.Join(dir, "boot/config-6.1")); err != nil {
				t.Fatal(err)
			}
			return dir
		}, ErrDamaged},
		"a pipe": {"", func(t *testing.T) string {
			dir := good(t)
			name := filepath.Join(dir, "boot/config-6.1")
			if err := errors.Join(os.Remove(name), syscall.Mkfifo(name, 0o600)); err != nil {
				t.Fatal(err)
			}
			return dir
		}, ErrDamaged},
		"a link out of it": {"", func(t *testing.T) string {
			dir := good(t)
			name := filepath.Join(dir, "boot/config-6.1")
			if err := errors.Join(os.Remove(name), os.Symlink("/etc/hostname", name)); err != nil {
				t.Fatal(err)
			}
			return dir
		}, nil},
		"a pipe for a tar": {"", func(t *testing.T) string {
			name := filepath.Join(t.TempDir(), "pipe")
			if err := syscall.Mkfifo(name, 0o600); err != nil {
				t.Fatal(err)
			}
			return name
		}, files.ErrKind},
		"no JSON":   {"", spoiled(manifestName, "{"), ErrNoBundle},
		"cut tar":   {"", cutTar, ErrNoBundle},
		"out of it": {"", func(t *testing.T) string { return tarOf(t, good(t), tar.Header{Name: "../out", Typeflag: tar.TypeReg}) }, ErrNoBundle},
		"absolute":  {"", func(t *testing.T) string { return tarOf(t, good(t), tar.Header{Name: "/out", Typeflag: tar.TypeReg}) }, ErrNoBundle},
		"twice": {"", func(t *testing.T) string {
			return tarOf(t, good(t), tar.Header{Name: "boot/config-6.1", Typeflag: tar.TypeReg})
		}, os.ErrExist},
		"format":       {"", changed(func(m *Manifest) { m.Format = 2 }), ErrNoBundle},
		"architecture": {"", changed(func(m *Manifest) { m.Arch = "vax" }), ErrNoBundle},
		"release":      {"", changed(func(m *Manifest) { m.Release = "../6.1" }), ErrNoBundle},
		"digest":       {"", changed(func(m *Manifest) { m.Digest = strings.Repeat("0", 64) }), ErrNoBundle},
		"modules":      {"", changed(func(m *Manifest) { m.Modules = strings.Repeat("0", 64) }), ErrNoBundle},
		"files":        {"", changed(func(m *Manifest) { m.Files = nil }), ErrNoBundle},
		"path":         {"", changed(func(m *Manifest) { m.Files[0].Path = "../x"; m.Digest = digestOf(m.Files) }), ErrNoBundle},
		"huge":         {"", changed(func(m *Manifest) { m.Files[0].Size = maxSize + 1; m.Digest = digestOf(m.Files) }), ErrNoBundle},
		"boots":        {"", changed(func(m *Manifest) { m.Boots = []Boots{{Board: "pc", Accel: "tcg", Count: 1}} }), ErrNoBundle},
		"hung boots":   {"", changed(func(m *Manifest) { m.Boots = []Boots{{Board: "q35", Accel: "tcg", Count: 1, Hung: 2}} }), ErrNoBundle},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := Open(dir)
			if b, err := s.Import(t.Context(), c.make(t), c.name); err == nil || c.want != nil && !errors.Is(err, c.want) {
				t.Fatalf("%+v, %v, want %v", b, err, c.want)
			}
			entries, _ := os.ReadDir(dir)
			for _, e := range entries {
				if e.Name() != lockName {
					t.Errorf("left: %s", e.Name())
				}
			}
		})
	}
}

func good(t *testing.T) string { return tree(t, "6.1", "one") }

func tarName(t *testing.T, text string) string {
	name := filepath.Join(t.TempDir(), "x.tar")
	put(t, name, text)
	return name
}

func spoiled(file, text string) func(*testing.T) string {
	return func(t *testing.T) string {
		dir := good(t)
		put(t, filepath.Join(dir, file), text)
		return dir
	}
}

func changed(f func(*Manifest)) func(*testing.T) string {
	return func(t *testing.T) string {
		dir := good(t)
		m, err := readManifest(dir)
		if err != nil {
			t.Fatal(err)
		}
		f(&m)
		data, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		put(t, filepath.Join(dir, manifestName), string(data))
		return dir
	}
}

func cutTar(t *testing.T) string {
	name := tarOf(t, good(t))
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	put(t, name, string(data[:len(data)-20]))
	return name
}

// Nothing that a killed import or removal left is taken for a kernel, and the
// next import takes it away.
func TestKilledHalfWay(t *testing.T) {
	dir := t.TempDir()
	s := Open(dir)
	put(t, filepath.Join(dir, stagePrefix+"1", "boot", "vmlinuz-6.1"), "half")
	put(t, filepath.Join(dir, goingPrefix+"old", manifestName), "{}")
	put(t, filepath.Join(dir, "damaged", manifestName), "{}")
	put(t, filepath.Join(dir, "damaged", ".tmp-1"), "{")
	put(t, filepath.Join(dir, ".tmp-1"), "ours")
	if all, err := s.List(); len(all) != 0 || !errors.Is(err, ErrNoBundle) {
		t.Fatalf("%v, %v", all, err)
	}
	if _, err := s.Import(t.Context(), good(t), ""); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{stagePrefix + "1", goingPrefix + "old", ".tmp-1", "damaged/.tmp-1"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			t.Errorf("%s is still there", name)
		}
	}
	if err := s.Remove(t.Context(), "damaged", nobody); err != nil {
		t.Errorf("a damaged one can't be removed: %v", err)
	}
}

func TestUseAndRemove(t *testing.T) {
	ctx := t.Context()
	s := Open(t.TempDir())
	if _, err := s.Import(ctx, good(t), "ours"); err != nil {
		t.Fatal(err)
	}
	if err := s.Use(ctx, "nobody"); !errors.Is(err, ErrNotFound) {
		t.Fatalf("use one that is not there: %v", err)
	}
	if err := s.Use(ctx, "ours"); err != nil || s.Used() != "ours" {
		t.Fatalf("%v, used %q", err, s.Used())
	}
	if b, err := s.Find("ours"); err != nil || !b.Used {
		t.Fatalf("%+v, %v", b, err)
	}
	var used *InUseError
	if err := s.Remove(ctx, "ours", nobody); !errors.As(err, &used) || !strings.Contains(err.Error(), "name no kernel") {
		t.Fatalf("remove the one in use: %v", err)
	}
	if err := s.Use(ctx, Default); err != nil || s.Used() != Default {
		t.Fatalf("%v, used %q", err, s.Used())
	}
	if err := s.Remove(ctx, "ours", func(string) ([]string, error) { return []string{"web"}, nil }); !errors.As(err, &used) || used.Users[0] != "web" {
		t.Fatalf("remove one of a machine: %v", err)
	}
	if err := s.Remove(ctx, "ours", func(string) ([]string, error) { return nil, os.ErrClosed }); !errors.Is(err, os.ErrClosed) {
		t.Fatalf("remove without knowing who uses it: %v", err)
	}
	if err := s.Remove(ctx, "ours", nobody); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ours", "nobody"} {
		if err := s.Remove(ctx, name, nobody); !errors.Is(err, ErrNotFound) {
			t.Errorf("remove %s: %v", name, err)
		}
	}
	if err := s.Remove(ctx, "..", nobody); !errors.Is(err, ErrName) {
		t.Errorf("remove ..: %v", err)
	}
}

func TestRecordAndChoose(t *testing.T) {
	ctx := t.Context()
	s := Open(t.TempDir())
	if _, err := s.Import(ctx, good(t), "ours"); err != nil {
		t.Fatal(err)
	}
	tried := func(board, accel string, count, hung int) Boots {
		return Boots{Board: board, Accel: accel, Count: count, Hung: hung}
	}
	for _, c := range []struct {
		boots        Boots
		board, accel string
	}{
		{tried("q35", "tcg", 200, 0), "q35", ""},
		{tried("microvm", "tcg", 199, 0), "q35", ""},
		{tried("microvm", "tcg", 200, 0), "microvm", "tcg"},
		{tried("microvm", "tcg", 20, 0), "microvm", "tcg"},
		{tried("microvm", "kvm", 500, 0), "microvm", ""},
		{tried("microvm", "tcg", 300, 1), "microvm", "kvm"},
	} {
		for _, k := range []struct{ name, release string }{{"ours", "6.1"}, {Default, "6.1.0-debian"}} {
			if err := s.Record(ctx, k.name, k.release, c.boots); err != nil {
				t.Fatal(err)
			}
		}
		b, err := s.Find("ours")
		if err != nil {
			t.Fatal(err)
		}
		for what, boots := range map[string][]Boots{"bundle": b.Boots, "default": s.DefaultBoots("6.1.0-debian")} {
			if board, accel := Choose(boots); board != c.board || accel != c.accel {
				t.Errorf("%s, after %+v: %q for %q", what, c.boots, board, accel)
			}
		}
	}
	if b := s.DefaultBoots("6.1.1"); b != nil {
		t.Errorf("boots of another release: %v", b)
	}
	if err := s.Record(ctx, "ours", "6.2", tried("q35", "tcg", 1, 0)); !errors.Is(err, ErrNotFound) {
		t.Errorf("a kernel that is another by now: %v", err)
	}
	if err := s.Record(ctx, "ours", "6.1", tried("q35", "hvf", 1, 0)); err == nil {
		t.Error("an unknown accelerator was recorded")
	}
	// The same bundle with records of its own brings them.
	dir := good(t)
	m, err := readManifest(dir)
	if err != nil {
		t.Fatal(err)
	}
	m.Boots = []Boots{tried("microvm", "tcg", 400, 0)}
	if err := writeManifest(dir, m); err != nil {
		t.Fatal(err)
	}
	b, err := s.Import(ctx, dir, "ours")
	if err != nil || len(b.Boots) != 3 {
		t.Fatalf("%+v, %v", b.Boots, err)
	}
	put(t, filepath.Join(s.dir, defaultBoots), `{"6.1.0-debian":[{"board":"pc"}]}`)
	if board, _ := Choose(s.DefaultBoots("6.1.0-debian")); board != "q35" {
		t.Errorf("a damaged record chose %s", board)
	}
}

func TestTook(t *testing.T) {
	var times []time.Duration
	for i := range 100 {
		times = append(times, time.Duration(100-i)*time.Millisecond)
	}
	if b := Took(times, 2); b.Count != 102 || b.Hung != 2 || b.Median != 51 || b.P99 != 99 || b.Max != 100 {
		t.Errorf("%+v", b)
	}
	if b := Took(nil, 3); b.Count != 3 || b.Hung != 3 || b.Max != 0 {
		t.Errorf("%+v", b)
	}
}

func TestPackRefuses(t *testing.T) {
	dir := t.TempDir()
	if _, err := Pack(dir, "amd64", "", noon); !errors.Is(err, ErrNoBundle) {
		t.Errorf("an empty directory: %v", err)
	}
	put(t, filepath.Join(dir, "boot", "vmlinuz-6.1"), "x")
	if _, err := Pack(dir, "vax", "", noon); !errors.Is(err, ErrNoBundle) {
		t.Errorf("an unknown architecture: %v", err)
	}
	put(t, filepath.Join(dir, "boot", "vmlinuz-6.2"), "x")
	if _, err := Pack(dir, "amd64", "", noon); !errors.Is(err, ErrNoBundle) {
		t.Errorf("two images: %v", err)
	}
}

// A lock that is held is given up with the context.
func TestLockedStore(t *testing.T) {
	s := Open(t.TempDir())
	unlock, err := s.lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := s.Use(ctx, Default); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

// What is known of a kernel holds where nothing else is recorded of it.
func TestKnownBoots(t *testing.T) {
	for what, boots := range known {
		for _, b := range boots {
			if err := b.check(); err != nil || b.Count < Enough || b.Made.IsZero() || b.Median == 0 {
				t.Errorf("%s: %+v, %v", what, b, err)
			}
		}
	}
	const release = "6.1.0-56-cloud-amd64"
	s := Open(t.TempDir())
	if board, accel := Choose(s.DefaultBoots(release)); board != "microvm" || accel != "tcg" {
		t.Errorf("it is built as %s under %q", board, accel)
	}
	if err := s.Record(t.Context(), Default, release, Boots{Board: "microvm", Accel: "tcg", Count: 3, Hung: 1}); err != nil {
		t.Fatal(err)
	}
	if board, _ := Choose(s.DefaultBoots(release)); board != "q35" {
		t.Errorf("one that hung here is built as %s", board)
	}
	if all := s.DefaultBoots("6.1.0-57-cloud-amd64"); all != nil {
		t.Errorf("of a release that nobody tried: %+v", all)
	}
}
