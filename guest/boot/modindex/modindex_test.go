package modindex

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// walk reads a trie as the format says, and finds every key with its values.
func walk(t interface{ Fatalf(string, ...any) }, data []byte) map[string][]string {
	number := func(at uint32) uint32 { return binary.BigEndian.Uint32(data[at:]) }
	text := func(at uint32) string { s, _, _ := strings.Cut(string(data[at:]), "\x00"); return s }
	if number(0) != trieMagic || number(4) != trieVersion {
		t.Fatalf("it begins with %x", data[:8])
	}
	found := map[string][]string{}
	var visit func(node uint32, key string)
	visit = func(node uint32, key string) {
		at := node & maxOffset
		if node&hasPrefix != 0 {
			prefix := text(at)
			key += prefix
			at += uint32(len(prefix)) + 1
		}
		if node&hasEdges != 0 {
			first, last := data[at], data[at+1]
			at += 2
			for b := int(first); b <= int(last); b++ {
				if below := number(at); below != 0 {
					visit(below, key+string(rune(b)))
				}
				at += 4
			}
		}
		if node&hasValues != 0 {
			count := number(at)
			at += 4
			for range count {
				v := text(at + 4)
				found[key] = append(found[key], fmt.Sprintf("%d %s", number(at), v))
				at += 4 + uint32(len(v)) + 1
			}
		}
	}
	visit(number(8), "")
	return found
}

func TestTrieHoldsWhatWasPut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var tr trie
		want := map[string]map[string]bool{}
		for range rapid.IntRange(0, 60).Draw(t, "count") {
			key := rapid.StringMatching(`[a-d\[\]*?~]{1,6}`).Draw(t, "key")
			v := value{rapid.IntRange(0, 3).Draw(t, "priority"), rapid.StringMatching(`[xy]{0,2}`).Draw(t, "text")}
			tr.put(key, v)
			if want[key] == nil {
				want[key] = map[string]bool{}
			}
			want[key][fmt.Sprintf("%d %s", v.priority, v.text)] = true
		}
		got := walk(t, tr.bytes())
		if len(got) != len(want) {
			t.Fatalf("keys %v, want %v", got, want)
		}
		for key, values := range got {
			if !slices.IsSortedFunc(values, func(a, b string) int { return int(a[0]) - int(b[0]) }) {
				t.Fatalf("%q: %q is not in the order of the priorities", key, values)
			}
			slices.Sort(values)
			if w := slices.Sorted(maps.Keys(want[key])); !slices.Equal(values, w) {
				t.Fatalf("%q: %q, want %q", key, values, w)
			}
		}
	})
}

// What depmod of kmod 30 makes of the same lists, byte for byte.
func TestBuiltinsAsDepmod(t *testing.T) {
	files, err := Files(nil, Builtin{
		Paths:   []byte("kernel/fs/ext4/ext4.ko\nkernel/fs/exfat/exfat.ko\nkernel/drivers/char/hw_random/rng-core.ko\nkernel/fs/ext2/ext2.ko\nkernel/lib/ext.ko\n"),
		Modinfo: []byte("ext4.alias=fs-ext4\x00ext4.license=GPL\x00ext2.alias=fs-ext2\x00rng_core.alias=pci:v00001AF4d*sv*[0-9a-]*\x00ext4.alias=ext3\x00exfat.alias=fs-ext2\x00"),
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"modules.dep.bin": "b007f457000200010000000c",
		"modules.builtin.bin": "b007f4570002000120000092617400000000010000000000000000010000000000000000010000000000323440000018000000004000002100000001000000000078006674c0" +
			"00000c" +
			strings.Repeat("0", 104) +
			"6000002a6e675f636f7265000000000100000000006572a0000041" +
			strings.Repeat("0", 96) +
			"c0000081",
		"modules.builtin.alias.bin": "b007f45700020001200000807874330000000001000000006578743400000000020000000065786661740000000000657874320000000001000000006578743400735f657874" +
			"0032344000001d000000004000003463693a763030303031414634642a73762a5b302d39612d5d2a000000000100000000726e675f636f7265006570c000000ca0000041" +
			strings.Repeat("0", 72) +
			"c0000055",
	} {
		if got := hex.EncodeToString(files[name]); got != want {
			t.Errorf("%s is\n%s\nwant\n%s", name, got, want)
		}
	}
}

func some() []Module {
	return []Module{
		{"btrfs", "kernel/fs/btrfs/btrfs.ko", Info{Depends: []string{"raid6_pq", "xor", "libcrc32c", "builtin"}, Aliases: []string{"devname:btrfs-control", "char-major-10-234", "fs-btrfs"}, Softdeps: []string{"pre: crc32c"}}},
		{"xor", "kernel/crypto/xor.ko", Info{Depends: []string{"libcrc32c"}, Symbols: []string{"xor_blocks"}}},
		{"raid6_pq", "kernel/lib/raid6/raid6_pq.ko", Info{}},
		{"libcrc32c", "kernel/lib/libcrc32c.ko", Info{Aliases: []string{"virtio:d0000-0002v[0-9]*", "a space", "open[", "]shut", "h\xe9"}}},
	}
}

func TestModules(t *testing.T) {
	files, err := Files(some(), Builtin{})
	if err != nil {
		t.Fatal(err)
	}
	btrfs := "kernel/fs/btrfs/btrfs.ko: kernel/crypto/xor.ko kernel/lib/libcrc32c.ko kernel/lib/raid6/raid6_pq.ko"
	if got, _, _ := strings.Cut(string(files["modules.dep"]), "\n"); got != btrfs {
		t.Errorf("modules.dep begins with %q", got)
	}
	if got := walk(t, files["modules.dep.bin"])["btrfs"]; !slices.Equal(got, []string{"0 " + btrfs}) {
		t.Errorf("modules.dep.bin has %q", got)
	}
	wantAliases := map[string][]string{
		"devname:btrfs_control": {"0 btrfs"}, "char_major_10_234": {"0 btrfs"}, "fs_btrfs": {"0 btrfs"}, "virtio:d0000_0002v[0-9]*": {"3 libcrc32c"},
	}
	if got := walk(t, files["modules.alias.bin"]); !maps.EqualFunc(got, wantAliases, slices.Equal) {
		t.Errorf("modules.alias.bin has %q", got)
	}
	for name, line := range map[string]string{
		"modules.alias": "alias virtio:d0000_0002v[0-9]* libcrc32c\n", "modules.softdep": "softdep btrfs pre: crc32c\n",
		NodesFile: "btrfs btrfs-control c10:234\n", "modules.symbols": "alias symbol:xor_blocks xor\n",
	} {
		if !strings.HasSuffix(string(files[name]), line) {
			t.Errorf("%s ends with %q, want %q", name, files[name], line)
		}
	}
	again, err := Files(some(), Builtin{})
	if err != nil || !maps.EqualFunc(files, again, slices.Equal) {
		t.Errorf("the same modules gave other bytes, %v", err)
	}
}

func TestUnfit(t *testing.T) {
	for what, m := range map[string][]Module{
		"twice":        {{Name: "a", Path: "a.ko"}, {Name: "a", Path: "b/a.ko"}},
		"circle":       {{Name: "a", Path: "a.ko", Info: Info{Depends: []string{"b"}}}, {Name: "b", Path: "b.ko", Info: Info{Depends: []string{"a"}}}},
		"itself":       {{Name: "a", Path: "a.ko", Info: Info{Depends: []string{"a"}}}},
		"no name":      {{Path: "a.ko"}},
		"path":         {{Name: "a", Path: "a b.ko"}},
		"another line": {{Name: "a", Path: "a.ko", Info: Info{Softdeps: []string{"pre: x\nsoftdep y"}}}},
	} {
		if _, err := Files(m, Builtin{}); !errors.Is(err, ErrUnfit) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
