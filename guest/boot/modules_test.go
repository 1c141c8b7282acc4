package boot

import (
	"bytes"
	"compress/gzip"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
	"pgregory.net/rapid"
)

// fakeModule is an ELF whose .modinfo says what it depends on.
func fakeModule(depends ...string) []byte {
	info := "license=GPL\x00depends=" + strings.Join(depends, ",") + "\x00name=x\x00"
	names := "\x00.modinfo\x00.shstrtab\x00"
	const header, section = 64, 64
	b := make([]byte, header)
	copy(b, "\x7fELF\x02\x01\x01")
	le := binary.LittleEndian
	le.PutUint16(b[16:], uint16(elf.ET_REL))
	le.PutUint16(b[18:], uint16(elf.EM_X86_64))
	le.PutUint32(b[20:], 1)
	le.PutUint64(b[40:], uint64(header+len(info)+len(names))) // section table
	le.PutUint16(b[52:], header)
	le.PutUint16(b[58:], section)
	le.PutUint16(b[60:], 3)
	le.PutUint16(b[62:], 2)
	b = append(append(b, info...), names...)
	table := make([]byte, 3*section)
	put := func(i int, name, kind uint32, off, size int) {
		s := table[i*section:]
		le.PutUint32(s, name)
		le.PutUint32(s[4:], kind)
		le.PutUint64(s[24:], uint64(off))
		le.PutUint64(s[32:], uint64(size))
	}
	put(1, 1, uint32(elf.SHT_PROGBITS), header, len(info))
	put(2, 10, uint32(elf.SHT_STRTAB), header+len(info), len(names))
	return append(b, table...)
}

// write makes a file with its directories.
func write(t testing.TB, name string, data []byte) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o755); err != nil {
		t.Fatal(err)
	}
	return name
}

// debianModules is a tree in the shape of Debian's cloud kernel.
func debianModules(t testing.TB, dir string, f format) {
	suffix := map[format]string{plain: "", xzipped: ".xz", zstded: ".zst", gzipped: ".gz"}[f]
	for file, depends := range map[string][]string{
		"drivers/misc/pvpanic/pvpanic":                    nil,
		"drivers/misc/pvpanic/pvpanic-pci":                {"pvpanic"},
		"drivers/virtio/virtio":                           {"virtio_ring"},
		"drivers/virtio/virtio_ring":                      nil,
		"drivers/virtio/virtio_pci":                       {"virtio_ring", "virtio"},
		"net/vmw_vsock/vsock":                             nil,
		"net/vmw_vsock/vmw_vsock_virtio_transport_common": {"vsock"},
		"net/vmw_vsock/vmw_vsock_virtio_transport":        {"virtio", "vmw_vsock_virtio_transport_common", "virtio_ring", "vsock"},
		"drivers/char/hw_random/virtio-rng":               {"virtio", "rng-core"},
		"drivers/char/virtio_console":                     {"virtio_ring", "virtio"},
		"drivers/acpi/button":                             nil,
		"drivers/block/virtio_blk":                        {"virtio", "virtio_ring"},
		"net/core/failover":                               {},
		"drivers/net/net_failover":                        {"failover"},
		"drivers/net/virtio_net":                          {"virtio", "virtio_ring", "net_failover"},
		"net/ipv4/inet_diag":                              nil,
		"net/ipv4/tcp_diag":                               {"inet_diag"},
		"fs/btrfs/btrfs":                                  {"libcrc32c", "virtio_ring"},
		"fs/erofs/erofs":                                  {"libcrc32c"},
		"lib/libcrc32c":                                   nil,
	} {
		write(t, filepath.Join(dir, "kernel", file+".ko"+suffix), pack(t, f, fakeModule(depends...)))
	}
	write(t, filepath.Join(dir, "modules.builtin"), []byte("kernel/drivers/char/hw_random/rng-core.ko\nkernel/fs/ext4/ext4.ko\n"))
}

func names(modules []module) []string {
	var n []string
	for _, m := range modules {
		n = append(n, m.name)
	}
	return n
}

func TestModuleOrder(t *testing.T) {
	for _, f := range []format{plain, xzipped, zstded, gzipped} {
		t.Run(string(f), func(t *testing.T) {
			dir := t.TempDir()
			debianModules(t, dir, f)
			tree, err := openModules(dir)
			if err != nil {
				t.Fatal(err)
			}
			load, missing, err := tree.order(wanted)
			if err != nil {
				t.Fatal(err)
			}
			want := []string{
				"pvpanic", "pvpanic_pci", "virtio_ring", "virtio", "virtio_pci", "vsock", "vmw_vsock_virtio_transport_common",
				"vmw_vsock_virtio_transport", "virtio_console", "virtio_rng", "virtio_blk", "failover", "net_failover", "virtio_net", "inet_diag", "tcp_diag", "button",
			}
			if got := names(load); !slices.Equal(got, want) {
				t.Errorf("order %v\nwant  %v", got, want)
			}
			if !slices.Equal(missing, []string{"evdev"}) {
				t.Errorf("missing %v, want evdev", missing)
			}
			for _, m := range load {
				if !bytes.HasPrefix(m.data, []byte("\x7fELF")) {
					t.Errorf("%s is not unpacked", m.name)
				}
			}
		})
	}
}

// Ubuntu builds virtio_pci and more into the kernel.
func TestModuleOrderSkipsBuiltIns(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "modules.builtin"), []byte("kernel/drivers/virtio/virtio_pci.ko\nkernel/net/vmw_vsock/vsock.ko\n"))
	write(t, filepath.Join(dir, "kernel/vmw_vsock_virtio_transport.ko"), fakeModule("vsock"))
	tree, err := openModules(dir)
	if err != nil {
		t.Fatal(err)
	}
	load, _, err := tree.order(wanted)
	if err != nil {
		t.Fatal(err)
	}
	if got := names(load); !slices.Equal(got, []string{"vmw_vsock_virtio_transport"}) {
		t.Errorf("order %v", got)
	}
}

func TestModuleOrderRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string][]byte
		says  string
	}{
		"required is missing":   {map[string][]byte{"b": fakeModule()}, "kernel module a: neither built in"},
		"dependency is missing": {map[string][]byte{"a": fakeModule("gone")}, "needed by a: kernel module gone"},
		"circle":                {map[string][]byte{"a": fakeModule("b"), "b": fakeModule("a")}, "depends on itself"},
		"not a module":          {map[string][]byte{"a": []byte("text")}, "kernel module a:"},
		"hostile name":          {map[string][]byte{"a": fakeModule("../../etc")}, "is no module name"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, data := range c.files {
				write(t, filepath.Join(dir, "kernel", file+".ko"), data)
			}
			tree, err := openModules(dir)
			if err != nil {
				t.Fatal(err)
			}
			_, _, err = tree.order([]want{{"a", true}})
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %v, want %q in it", err, c.says)
			}
		})
	}
}

// Over random graphs without circles: each module that is reachable comes once,
// and after all that it depends on.
func TestModuleOrderProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 12).Draw(t, "modules")
		dir, err := os.MkdirTemp("", "modules")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		depends := map[string][]string{}
		for i := range n {
			name := fmt.Sprintf("m%d", i)
			for j := range i {
				if rapid.Bool().Draw(t, "edge") {
					depends[name] = append(depends[name], fmt.Sprintf("m%d", j))
				}
			}
			if err := os.WriteFile(filepath.Join(dir, name+".ko"), fakeModule(depends[name]...), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		tree, err := openModules(dir)
		if err != nil {
			t.Fatal(err)
		}
		load, _, err := tree.order([]want{{fmt.Sprintf("m%d", n-1), true}})
		if err != nil {
			t.Fatal(err)
		}
		loaded := map[string]bool{}
		for _, m := range load {
			if loaded[m.name] {
				t.Fatalf("%s twice", m.name)
			}
			for _, d := range depends[m.name] {
				if !loaded[d] {
					t.Fatalf("%s before %s", m.name, d)
				}
			}
			loaded[m.name] = true
		}
	})
}

func FuzzDepends(f *testing.F) {
	f.Add([]byte("license=GPL\x00depends=virtio,virtio-ring\x00"))
	f.Add([]byte("depends=\x00"))
	f.Add([]byte("depends=../x"))
	f.Fuzz(func(t *testing.T, info []byte) {
		list, err := parseDepends(info)
		if err != nil {
			return
		}
		for _, name := range list {
			if !validModuleName(name) || strings.ContainsAny(name, "/.-") {
				t.Errorf("%q got through", name)
			}
		}
	})
}

// A module file, packed or not, costs no more than the bound, and names only
// what can be a module.
func FuzzModule(f *testing.F) {
	ko := fakeModule("a", "b-c")
	f.Add(ko)
	f.Add(pvhELF()[:200])
	var gz, xzs, zs bytes.Buffer
	g := gzip.NewWriter(&gz)
	x, err := xz.NewWriter(&xzs)
	if err != nil {
		f.Fatal(err)
	}
	z, err := zstd.NewWriter(&zs, zstd.WithEncoderConcurrency(1))
	if err != nil {
		f.Fatal(err)
	}
	for _, w := range []io.WriteCloser{g, x, z} {
		if _, err := w.Write(ko); err != nil {
			f.Fatal(err)
		}
		if err := w.Close(); err != nil {
			f.Fatal(err)
		}
	}
	for _, b := range []*bytes.Buffer{&gz, &xzs, &zs} {
		f.Add(b.Bytes())
		f.Add(b.Bytes()[:b.Len()/2])
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		const limit = 64 << 10
		ko, err := decompress(file, limit)
		if err != nil {
			return
		}
		if sniff(file) != plain && len(ko) > limit {
			t.Fatalf("unpacked to %d bytes, at most %d are allowed", len(ko), limit)
		}
		names, err := moduleDepends(ko)
		if err != nil && len(names) > 0 {
			t.Fatalf("%q and %v", names, err)
		}
		for _, n := range names {
			if !validModuleName(n) || len(names) > len(ko) {
				t.Fatalf("%q of %d names got through", n, len(names))
			}
		}
	})
}
