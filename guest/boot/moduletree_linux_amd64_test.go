package boot

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/arcboxlabs/arcbox-engine/guest/image/erofs/erofstest"
)

// All modules are there, unpacked, with what modprobe reads; a new agent's assets
// share them with the old one's, and another kernel's modules are others.
func TestPrepareTree(t *testing.T) {
	o := fakeHost(t)
	dir := filepath.Join(o.KernelTree, "lib/modules/6.1.0")
	write(t, filepath.Join(dir, "modules.order"), []byte("kernel/fs/erofs/erofs.ko\nkernel/lib/libcrc32c.ko\n"))
	write(t, filepath.Join(dir, "kernel/net/dummy.ko.zst"), pack(t, zstded, fakeModule("libcrc32c")))
	a, err := Prepare(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(a.Tree)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	files, err := erofstest.Read(f)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"kernel/net/dummy.ko", "kernel/fs/btrfs/btrfs.ko", "modules.builtin", "modules.order",
		"modules.dep", "modules.dep.bin", "modules.alias.bin", "modules.symbols.bin", "modules.builtin.bin", "modules.softdep", "modules.nodes",
	} {
		if m := files[name]; m.Mode != 0o100644 || m.UID != 0 || m.GID != 0 {
			t.Errorf("%s: %+v", name, m)
		}
	}
	if got, want := files["kernel/net/dummy.ko"].Size, int64(len(fakeModule("libcrc32c"))); got != want {
		t.Errorf("a packed module has %d bytes, unpacked it has %d", got, want)
	}
	if m := files["."]; m.Mode != 0o40755 {
		t.Errorf("the root: %+v", m)
	}

	write(t, o.Agent, fakeELF([]byte("a later agent")))
	later, err := Prepare(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if later.Tree == a.Tree || !sameFile(t, a.Tree, later.Tree) {
		t.Errorf("%s is not shared as %s", a.Tree, later.Tree)
	}
	write(t, filepath.Join(dir, "kernel/net/more.ko"), fakeModule())
	other, err := Prepare(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if sameFile(t, a.Tree, other.Tree) {
		t.Error("a kernel with one module more has the same tree")
	}
}

func sameFile(t *testing.T, a, b string) bool {
	t.Helper()
	one, err := os.Stat(a)
	if err != nil {
		t.Fatal(err)
	}
	two, err := os.Stat(b)
	if err != nil {
		t.Fatal(err)
	}
	return os.SameFile(one, two)
}

// Modules that the build lists come first, in its order; the others by their paths.
func TestModulesInOrder(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"kernel/b.ko.xz", "kernel/a.ko", "kernel/z-z.ko", "kernel/c.ko"} {
		write(t, filepath.Join(dir, name), nil)
	}
	tree, err := openModules(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range tree.inOrder(dir, "kernel/z-z.ko\nkernel/gone.ko\nkernel/c.ko\n") {
		got = append(got, m.Name+"="+m.Path)
	}
	if text := strings.Join(got, " "); text != "z_z=kernel/z-z.ko c=kernel/c.ko a=kernel/a.ko b=kernel/b.ko" {
		t.Error(text)
	}
}

func TestTreeRefusesWhatIsNoModule(t *testing.T) {
	o := fakeHost(t)
	write(t, filepath.Join(o.KernelTree, "lib/modules/6.1.0/kernel/net/bad.ko"), []byte("not an ELF"))
	if _, err := Prepare(t.Context(), o); err == nil || !strings.Contains(err.Error(), "kernel module bad") {
		t.Errorf("%v", err)
	}
}
