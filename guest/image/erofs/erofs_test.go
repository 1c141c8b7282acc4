package erofs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/arcboxlabs/arcbox-engine/guest/image/erofs/erofstest"
)

// memory is an output that grows.
type memory []byte

func (m *memory) WriteAt(p []byte, at int64) (int, error) {
	if end := int(at) + len(p); end > len(*m) {
		*m = append(*m, make([]byte, end-len(*m))...)
	}
	return copy((*m)[at:], p), nil
}

func dir(entries map[string]*Inode) *Inode {
	if entries == nil {
		entries = map[string]*Inode{}
	}
	return &Inode{Mode: typeDir | 0o755, Entries: entries}
}

// made writes a tree whose files have the given contents.
func made(t testing.TB, root *Inode, files []*Inode, contents []string) []byte {
	t.Helper()
	var out memory
	w := NewWriter(&out)
	for i, n := range files {
		if err := w.Data(n, int64(len(contents[i])), strings.NewReader(contents[i])); err != nil {
			t.Fatal(err)
		}
	}
	st, err := w.Close(root)
	if err != nil {
		t.Fatal(err)
	}
	if st.Size != int64(len(out)) || st.Size%blockSize != 0 {
		t.Fatalf("says %d bytes, wrote %d", st.Size, len(out))
	}
	return out
}

func readBack(t testing.TB, image []byte) map[string]erofstest.File {
	t.Helper()
	files, err := erofstest.Read(bytes.NewReader(image))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

var notInode = cmpopts.IgnoreFields(erofstest.File{}, "Ino", "Size")

func TestEverythingIsKept(t *testing.T) {
	rdev, err := Rdev(259, 0x12345)
	if err != nil {
		t.Fatal(err)
	}
	caps := "\x01\x00\x00\x02\x00\x20\x00\x00"
	sudo := &Inode{Mode: typeFile | 0o4755, Sec: 1700000000, Nsec: 123456789, Xattrs: map[string]string{
		"security.capability": caps, "user.note": strings.Repeat("n", 300), "system.posix_acl_access": "\x02\x00\x00\x00", "trusted.x": "",
	}}
	empty := &Inode{Mode: typeFile | 0o600, UID: 1000, GID: 4294967294, Sec: -1}
	root := dir(map[string]*Inode{
		"sudo": sudo, "also": sudo, "empty": empty,
		"dev": {Mode: typeDir | 0o1777, UID: 5, GID: 6, Sec: 7, Nsec: 8, Entries: map[string]*Inode{
			"nvme": {Mode: typeBlock | 0o660, GID: 6, Rdev: rdev},
			"tty":  {Mode: typeChar | 0o620, Rdev: 0x500},
			"pipe": {Mode: typeFIFO | 0o600},
			"sock": {Mode: typeSock | 0o700},
		}},
		"link": {Mode: typeLink | 0o777, Target: "/etc/../x", UID: 3},
		"long": {Mode: typeLink | 0o777, Target: strings.Repeat("l", MaxTarget)},
		"none": dir(nil),
	})
	got := readBack(t, made(t, root, []*Inode{sudo, empty}, []string{"hello", ""}))
	want := map[string]erofstest.File{
		".": {Mode: typeDir | 0o755, Nlink: 4},
		"sudo": {Mode: typeFile | 0o4755, Sec: 1700000000, Nsec: 123456789, Nlink: 2, Data: erofstest.Sum("hello"), Xattrs: map[string]string{
			"security.capability": caps, "user.note": strings.Repeat("n", 300), "system.posix_acl_access": "\x02\x00\x00\x00", "trusted.x": "",
		}},
		"empty":    {Mode: typeFile | 0o600, UID: 1000, GID: 4294967294, Sec: -1, Nlink: 1, Data: erofstest.Sum("")},
		"dev":      {Mode: typeDir | 0o1777, UID: 5, GID: 6, Sec: 7, Nsec: 8, Nlink: 2},
		"dev/nvme": {Mode: typeBlock | 0o660, GID: 6, Rdev: 0x12345&0xff | 259<<8 | 0x123<<20, Nlink: 1},
		"dev/tty":  {Mode: typeChar | 0o620, Rdev: 0x500, Nlink: 1},
		"dev/pipe": {Mode: typeFIFO | 0o600, Nlink: 1},
		"dev/sock": {Mode: typeSock | 0o700, Nlink: 1},
		"link":     {Mode: typeLink | 0o777, Target: "/etc/../x", UID: 3, Nlink: 1},
		"long":     {Mode: typeLink | 0o777, Target: strings.Repeat("l", MaxTarget), Nlink: 1},
		"none":     {Mode: typeDir | 0o755, Nlink: 2},
	}
	want["also"] = want["sudo"]
	if d := cmp.Diff(want, got, notInode, cmpopts.EquateEmpty()); d != "" {
		t.Error(d)
	}
	if got["sudo"].Ino != got["also"].Ino || got["sudo"].Ino == got["empty"].Ino {
		t.Error("two names of one file are not one inode")
	}
	for name, f := range got {
		if f.Ino == 0 {
			t.Errorf("%s has the number 0, which tools take for no entry", name)
		}
	}
}

// Sizes around blocks, tails and the buffer are where a writer goes wrong.
func TestSizes(t *testing.T) {
	sizes := []int{0, 1, maxTail - 1, maxTail, maxTail + 1, blockSize - 1, blockSize, blockSize + 1, 2*blockSize + maxTail,
		bufferSize - 1, bufferSize, bufferSize + 1, bufferSize - blockSize, 2*bufferSize + 17}
	root := dir(nil)
	var files []*Inode
	var contents []string
	for i, size := range sizes {
		n := &Inode{Mode: typeFile | 0o644}
		root.Entries[fmt.Sprintf("f%02d", i)] = n
		files = append(files, n)
		contents = append(contents, strings.Repeat(fmt.Sprintf("%02d:", i), size/3+1)[:size])
	}
	got := readBack(t, made(t, root, files, contents))
	for i, want := range contents {
		f := got[fmt.Sprintf("f%02d", i)]
		if f.Size != int64(len(want)) || f.Data != erofstest.Sum(want) {
			t.Errorf("a file of %d bytes came back as %d others", len(want), f.Size)
		}
	}
}

func TestManyNamesAndBigAttributes(t *testing.T) {
	big := dir(nil)
	for i := range 1500 {
		big.Entries[fmt.Sprintf("%04d-%s", i, strings.Repeat("x", i%200))] = &Inode{
			Mode: typeLink | 0o777, Target: "t", Xattrs: map[string]string{"user.a": strings.Repeat("v", i*7%9000)},
		}
	}
	big.Entries["!before-the-dots"] = dir(nil)
	big.Entries[strings.Repeat("n", MaxName)] = dir(nil)
	root := dir(map[string]*Inode{"big": big})
	got := readBack(t, made(t, root, nil, nil))
	if len(got) != 1500+4 {
		t.Errorf("%d names came back", len(got))
	}
	for name, n := range big.Entries {
		f := got["big/"+name]
		if f.Mode != n.Mode || f.Xattrs["user.a"] != n.Xattrs["user.a"] {
			t.Fatalf("%s came back as %+v", name, f)
		}
	}
	if got["big"].Nlink != 4 {
		t.Errorf("a directory with two directories has %d links", got["big"].Nlink)
	}
}

// Over the budget, files get blocks and stay right.
func TestTailBudget(t *testing.T) {
	var out memory
	w := NewWriter(&out)
	w.tails = tailBudget - 10
	root := dir(map[string]*Inode{"a": {Mode: typeFile | 0o644}, "b": {Mode: typeFile | 0o644}})
	for _, name := range []string{"a", "b"} {
		if err := w.Data(root.Entries[name], 6, strings.NewReader("six"+name+"xx")); err != nil {
			t.Fatal(err)
		}
	}
	if root.Entries["a"].tail == nil || root.Entries["b"].tail != nil {
		t.Error("the budget had no effect")
	}
	if _, err := w.Close(root); err != nil {
		t.Fatal(err)
	}
	for name, f := range readBack(t, out) {
		if name != "." && f.Data != erofstest.Sum("six"+name+"xx") {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

// No kernel reads a tail that crosses a block.
func TestTailBesideBigAttributes(t *testing.T) {
	n := &Inode{Mode: typeFile | 0o644, Xattrs: map[string]string{"user.a": strings.Repeat("v", 2000)}}
	image := made(t, dir(map[string]*Inode{"n": n}), []*Inode{n}, []string{strings.Repeat("t", 2500)})
	if n.tail != nil || n.layout != layoutPlain {
		t.Error("the tail went behind the inode, where it has no room")
	}
	if f := readBack(t, image)["n"]; f.Data != erofstest.Sum(strings.Repeat("t", 2500)) {
		t.Errorf("%+v", f)
	}
}

// The superblock's checksum, bit by bit as the kernel's documentation has it.
func TestChecksum(t *testing.T) {
	n := &Inode{Mode: typeFile | 0o644}
	image := made(t, dir(map[string]*Inode{"n": n}), []*Inode{n}, []string{"x"})
	said := le.Uint32(image[superOffset+4:])
	clear(image[superOffset+4:][:4])
	crc := ^uint32(0)
	for _, b := range image[superOffset:blockSize] {
		crc ^= uint32(b)
		for range 8 {
			crc = crc>>1 ^ 0x82f63b78*(crc&1)
		}
	}
	if said != crc {
		t.Errorf("%08x, want %08x", said, crc)
	}
}

func TestSameTreeSameBytes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sizes := rapid.SliceOfN(rapid.IntRange(0, 3*blockSize), 1, 60).Draw(t, "sizes")
		image := func() []byte {
			root := dir(nil)
			var out memory
			w := NewWriter(&out)
			at := root
			for i, size := range sizes {
				n := &Inode{Mode: typeFile | 0o644, Sec: int64(size), Xattrs: map[string]string{"user.a": "1", "user.b": "2", "trusted.c": "3"}}
				if err := w.Data(n, int64(size), iotest.OneByteReader(io.LimitReader(endless('a'+byte(i)), int64(size)))); err != nil {
					t.Fatal(err)
				}
				if i%7 == 6 {
					next := dir(nil)
					at.Entries[fmt.Sprint("d", i)] = next
					at = next
				}
				at.Entries[fmt.Sprint("f", i)] = n
			}
			if _, err := w.Close(root); err != nil {
				t.Fatal(err)
			}
			return out
		}
		one := image()
		if !bytes.Equal(one, image()) {
			t.Fatal("two runs differ")
		}
		files, err := erofstest.Read(bytes.NewReader(one))
		if err != nil {
			t.Fatal(err)
		}
		if want := len(sizes) + len(sizes)/7 + 1; len(files) != want {
			t.Fatalf("%d names, want %d", len(files), want)
		}
	})
}

type endless byte

func (e endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(e)
	}
	return len(p), nil
}

// The UUID differs where only data does.
func TestIdentityFollowsData(t *testing.T) {
	uuid := func(content string) string {
		n := &Inode{Mode: typeFile | 0o644}
		return string(made(t, dir(map[string]*Inode{"f": n}), []*Inode{n}, []string{content})[superOffset+48:][:16])
	}
	if uuid(strings.Repeat("a", blockSize)) == uuid(strings.Repeat("b", blockSize)) {
		t.Error("different images have one UUID")
	}
}

func TestRefused(t *testing.T) {
	for name, root := range map[string]*Inode{
		"a name with a slash": dir(map[string]*Inode{"a/b": dir(nil)}),
		"the name ..":         dir(map[string]*Inode{"..": dir(nil)}),
		"an empty name":       dir(map[string]*Inode{"": dir(nil)}),
		"a long name":         dir(map[string]*Inode{strings.Repeat("n", 256): dir(nil)}),
		"no type":             dir(map[string]*Inode{"a": {Mode: 0o644}}),
		"an empty link":       dir(map[string]*Inode{"a": {Mode: typeLink}}),
		"a long link":         dir(map[string]*Inode{"a": {Mode: typeLink, Target: strings.Repeat("l", MaxTarget+1)}}),
		"unknown namespace":   dir(map[string]*Inode{"a": {Mode: typeFile, Xattrs: map[string]string{"com.apple.x": "1"}}}),
		"big attribute":       dir(map[string]*Inode{"a": {Mode: typeFile, Xattrs: map[string]string{"user.x": strings.Repeat("x", 65536)}}}),
		"a root that is none": {Mode: typeFile | 0o644},
	} {
		var out memory
		if _, err := NewWriter(&out).Close(root); !errors.Is(err, ErrUnfit) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, d := range [][2]int64{{-1, 0}, {4096, 0}, {0, 1 << 20}, {0, -1}} {
		if _, err := Rdev(d[0], d[1]); !errors.Is(err, ErrUnfit) {
			t.Errorf("device %v: %v", d, err)
		}
	}
	w := NewWriter(&memory{})
	if err := w.Data(&Inode{Mode: typeFile | 0o644}, math.MaxInt64, endless(0)); !errors.Is(err, ErrUnfit) {
		t.Errorf("a file that no EROFS holds: %v", err)
	}
}

func TestErrorNamesThePath(t *testing.T) {
	root := dir(map[string]*Inode{"a": dir(map[string]*Inode{"b": dir(map[string]*Inode{"bad": {Mode: typeLink}})})})
	_, err := NewWriter(&memory{}).Close(root)
	if err == nil || !strings.HasPrefix(err.Error(), "a/b/bad: ") {
		t.Errorf("%v", err)
	}
}

// full is a disk with so much room.
type full int64

var errFull = errors.New("no space")

func (f full) WriteAt(p []byte, at int64) (int, error) {
	if at+int64(len(p)) > int64(f) {
		return 0, errFull
	}
	return len(p), nil
}

func TestFullDiskAndShortData(t *testing.T) {
	for _, room := range []int64{0, blockSize, bufferSize, bufferSize + blockSize} {
		w := NewWriter(full(room))
		n := &Inode{Mode: typeFile | 0o644}
		err := w.Data(n, 2*bufferSize, endless(1))
		if err == nil {
			_, err = w.Close(dir(map[string]*Inode{"n": n}))
		}
		if !errors.Is(err, errFull) {
			t.Errorf("room for %d: %v", room, err)
		}
	}
	for _, size := range []int64{10, 5000, 2 * bufferSize} {
		if err := NewWriter(&memory{}).Data(&Inode{Mode: typeFile | 0o644}, size, strings.NewReader("short")); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%d bytes of 5: %v", size, err)
		}
	}
}
