package rootfs

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"github.com/arcboxlabs/arcbox-engine/guest/image/erofs"
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

// entry is a header and its data.
type entry struct {
	tar.Header
	data string
}

var epoch = time.Unix(1700000000, 0)

func file(name, data string) entry {
	return entry{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(data)), ModTime: epoch}, data}
}

func folder(name string) entry {
	return entry{Header: tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755, ModTime: epoch}}
}

func symlink(name, target string) entry {
	return entry{Header: tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777, ModTime: epoch}}
}

func hardlink(name, target string) entry {
	return entry{Header: tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target, ModTime: epoch}}
}

func pack(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := e.Header
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func layer(data []byte) Layer {
	return Layer{Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }}
}

func fromTar(data []byte) (memory, error) {
	var out memory
	_, err := FromTar(context.Background(), &out, DefaultLimits, layer(data))
	return out, err
}

func contents(t testing.TB, image []byte) map[string]erofstest.File {
	t.Helper()
	files, err := erofstest.Read(bytes.NewReader(image))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// short says of each name what tests of trees care about.
func short(files map[string]erofstest.File) map[string]string {
	found := map[string]string{}
	for name, f := range files {
		switch {
		case f.Target != "":
			found[name] = "-> " + f.Target
		case f.Data != "":
			found[name] = f.Data
		case name != ".":
			found[name] = "dir"
		}
	}
	return found
}

func TestAllThatATarSays(t *testing.T) {
	sudo := file("usr/bin/sudo", "#!")
	sudo.Mode, sudo.Uid, sudo.Gid, sudo.ModTime = 0o4755, 1, 2, time.Unix(5, 678)
	sudo.Format = tar.FormatPAX
	sudo.PAXRecords = map[string]string{"SCHILY.xattr.security.capability": "\x01\x00caps", "SCHILY.xattr.com.apple.x": "gone"}
	null := entry{Header: tar.Header{Typeflag: tar.TypeChar, Name: "dev/null", Mode: 0o666, Devmajor: 1, Devminor: 3, ModTime: epoch}}
	disk := entry{Header: tar.Header{Typeflag: tar.TypeBlock, Name: "dev/vda", Mode: 0o660, Devmajor: 254, ModTime: epoch}}
	pipe := entry{Header: tar.Header{Typeflag: tar.TypeFifo, Name: "run/pipe", Mode: 0o600, ModTime: epoch}}
	root := folder("./")
	root.Mode, root.Uid = 0o700, 9
	image, err := fromTar(pack(t, root, folder("./usr/"), sudo, hardlink("usr/bin/su", "./usr/bin/sudo"), null, disk, pipe,
		symlink("etc/mtab", "/proc/mounts"), symlink("up", "../../../etc/shadow"), hardlink("etc/mtab2", "etc/mtab")))
	if err != nil {
		t.Fatal(err)
	}
	made := erofstest.File{Mode: 0o040755, Nlink: 2} // a parent that no entry speaks of
	want := map[string]erofstest.File{
		".":            {Mode: 0o040700, UID: 9, Sec: epoch.Unix(), Nlink: 6},
		"usr":          {Mode: 0o040755, Sec: epoch.Unix(), Nlink: 3},
		"usr/bin":      made,
		"usr/bin/sudo": {Mode: 0o104755, UID: 1, GID: 2, Sec: 5, Nsec: 678, Nlink: 2, Data: erofstest.Sum("#!"), Xattrs: map[string]string{"security.capability": "\x01\x00caps"}},
		"dev":          made,
		"dev/null":     {Mode: 0o020666, Rdev: 0x103, Sec: epoch.Unix(), Nlink: 1},
		"dev/vda":      {Mode: 0o060660, Rdev: 0xfe00, Sec: epoch.Unix(), Nlink: 1},
		"run":          made,
		"run/pipe":     {Mode: 0o010600, Sec: epoch.Unix(), Nlink: 1},
		"etc":          made,
		"etc/mtab":     {Mode: 0o120777, Target: "/proc/mounts", Sec: epoch.Unix(), Nlink: 2},
		"up":           {Mode: 0o120777, Target: "../../../etc/shadow", Sec: epoch.Unix(), Nlink: 1},
	}
	want["usr/bin/su"], want["etc/mtab2"] = want["usr/bin/sudo"], want["etc/mtab"]
	if d := cmp.Diff(want, contents(t, image), cmpopts.IgnoreFields(erofstest.File{}, "Ino", "Size"), cmpopts.EquateEmpty()); d != "" {
		t.Error(d)
	}
}

func TestSecondEntryOfAName(t *testing.T) {
	for _, c := range []struct {
		name    string
		entries []entry
		want    map[string]string
	}{
		{"the last file counts", []entry{file("a", "1"), hardlink("b", "a"), file("a", "2")},
			map[string]string{"a": erofstest.Sum("2"), "b": erofstest.Sum("1")}},
		{"a directory keeps what is in it", []entry{file("d/a", "1"), folder("d"), file("d/b", "2")},
			map[string]string{"d": "dir", "d/a": erofstest.Sum("1"), "d/b": erofstest.Sum("2")}},
		{"a file replaces a directory", []entry{file("d/a", "1"), file("d", "2")}, map[string]string{"d": erofstest.Sum("2")}},
		{"a directory replaces a link", []entry{symlink("d", "e"), folder("d"), file("d/a", "1")},
			map[string]string{"d": "dir", "d/a": erofstest.Sum("1")}},
		{"a link above a name is followed", []entry{folder("usr/lib"), symlink("lib", "usr/lib"), file("lib/a", "1")},
			map[string]string{"usr": "dir", "usr/lib": "dir", "usr/lib/a": erofstest.Sum("1"), "lib": "-> usr/lib"}},
		{"inside the image only", []entry{symlink("x", "../../../../etc"), file("x/passwd", "1"), symlink("y", "/x"), file("y/group", "2")},
			map[string]string{"x": "-> ../../../../etc", "y": "-> /x", "etc": "dir", "etc/passwd": erofstest.Sum("1"), "etc/group": erofstest.Sum("2")}},
		{"a slash before a name is the image's root", []entry{file("/etc/passwd", "1"), hardlink("/etc/group", "/etc/passwd")},
			map[string]string{"etc": "dir", "etc/passwd": erofstest.Sum("1"), "etc/group": erofstest.Sum("1")}},
		{"names like whiteouts are names", []entry{file("a", "1"), file(".wh.a", "2")},
			map[string]string{"a": erofstest.Sum("1"), ".wh.a": erofstest.Sum("2")}},
	} {
		image, err := fromTar(pack(t, c.entries...))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if d := cmp.Diff(c.want, short(contents(t, image))); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
	}
}

func TestRefused(t *testing.T) {
	device := entry{Header: tar.Header{Typeflag: tar.TypeChar, Name: "dev/x", Devmajor: 5000}}
	loop := []entry{symlink("a", "b"), symlink("b", "a"), file("a/x", "1")}
	whole := pack(t, file("a", strings.Repeat("x", 2000)), file("b", "1"))
	odd := retyped(pack(t, file("a", "1")), '9')
	for _, c := range []struct {
		name string
		data []byte
		want error
	}{
		{"..", pack(t, file("../../etc/passwd", "1")), ErrOutside},
		{".. in the middle", pack(t, file("a/../../etc/passwd", "1")), ErrOutside},
		{"hard link outside", pack(t, hardlink("a", "../../etc/passwd")), ErrOutside},
		{"hard link to what is not there", pack(t, file("b", "1"), hardlink("a", "/etc/passwd")), ErrLink},
		{"hard link to a directory", pack(t, folder("d"), hardlink("a", "d")), ErrLink},
		{"hard link to the root", pack(t, hardlink("a", "./")), ErrLink},
		{"symbolic links in a circle", pack(t, loop...), ErrLink},
		{"a file above a name", pack(t, file("a", "1"), file("a/b", "2")), ErrLink},
		{"the root as a file", pack(t, file(".", "1")), ErrDamaged},
		{"no such device", pack(t, device), erofs.ErrUnfit},
		{"unknown type", odd, ErrKind},
		{"long part", pack(t, file(strings.Repeat("n", 256), "1")), ErrLimit},
		{"long name", pack(t, file(strings.Repeat("n/", 2049)+"n", "1")), ErrLimit},
		{"cut in the data", whole[:1500], ErrTruncated},
		{"cut in a header", whole[:3000], ErrTruncated},
		{"cut between two entries", whole[:512+2048], ErrTruncated},
		{"no end mark", whole[:len(whole)-1024], ErrTruncated},
		{"no tar", []byte(strings.Repeat("no tar ", 500)), ErrDamaged},
		{"nothing", nil, ErrEmpty},
		{"no entries", pack(t), ErrEmpty},
	} {
		if _, err := fromTar(c.data); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

// retyped makes the first entry of a tar one of another type.
func retyped(data []byte, kind byte) []byte {
	data[156] = kind
	copy(data[148:156], "        ") // what the checksum counts for itself
	sum := 0
	for _, b := range data[:512] {
		sum += int(b)
	}
	copy(data[148:156], fmt.Sprintf("%06o\x00 ", sum))
	return data
}

func TestErrorNamesTheEntry(t *testing.T) {
	_, err := fromTar(pack(t, file("a", "1"), file("../b", "2")))
	var e *EntryError
	if !errors.As(err, &e) || e.Entry != 2 || e.Name != "../b" {
		t.Errorf("%v", err)
	}
}

// A header may ask for much memory or disk before a byte of it is there.
func TestLimits(t *testing.T) {
	huge := file("a", "")
	huge.Size = 1 << 50
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&huge.Header); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err == nil {
		t.Fatal("the size had no effect")
	}
	if _, err := fromTar(b.Bytes()); !errors.Is(err, ErrLimit) {
		t.Errorf("a file of a petabyte: %v", err)
	}
	many := pack(t, file("a", "123"), file("b", "456"), folder("c"))
	for _, c := range []struct {
		limits Limits
		want   error
	}{{Limits{3, 6}, nil}, {Limits{2, 6}, ErrLimit}, {Limits{3, 5}, ErrLimit}} {
		if _, err := FromTar(t.Context(), &memory{}, c.limits, layer(many)); !errors.Is(err, c.want) {
			t.Errorf("%+v: %v, want %v", c.limits, err, c.want)
		}
	}
	header := retyped(pack(t, file("a", strings.Repeat("x", 2<<20))), tar.TypeXHeader)
	if _, err := fromTar(header); !errors.Is(err, ErrLimit) {
		t.Errorf("a header of 2 MiB: %v", err)
	}
	trailer := append(pack(t, file("a", "1")), make([]byte, maxTrailer)...)
	if _, err := fromTar(trailer); !errors.Is(err, ErrLimit) {
		t.Errorf("64 MiB behind the end: %v", err)
	}
}

func TestCompression(t *testing.T) {
	plain := pack(t, file("a", strings.Repeat("data", 5000)))
	pressed := map[string][]byte{"plain": plain}
	for name, open := range map[string]func(io.Writer) (io.WriteCloser, error){
		"gzip": func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil },
		"xz":   func(w io.Writer) (io.WriteCloser, error) { return xz.NewWriter(w) },
		"zstd": func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) },
	} {
		var b bytes.Buffer
		w, err := open(&b)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(plain); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		pressed[name] = b.Bytes()
	}
	want, err := fromTar(plain)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range pressed {
		got, err := fromTar(data)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: another image, %v", name, err)
		}
		for _, cut := range []int{len(data) - 1, len(data) / 2, 8} {
			if _, err := fromTar(data[:cut]); err == nil && name != "plain" || err != nil && !errors.Is(err, ErrTruncated) && !errors.Is(err, ErrDamaged) {
				t.Errorf("%s, %d of %d bytes: %v", name, cut, len(data), err)
			}
		}
		if name == "plain" {
			continue
		}
		data[len(data)-6] ^= 0xff // in the checksum, which is read last
		if _, err := fromTar(data); err == nil {
			t.Errorf("%s: a flipped byte was not seen", name)
		}
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	l := Layer{Open: func() (io.ReadCloser, error) {
		cancel()
		return io.NopCloser(bytes.NewReader(pack(t, file("a", "1")))), nil
	}}
	if _, err := FromTar(ctx, &memory{}, DefaultLimits, l); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func fromLayers(t *testing.T, layers ...[]entry) (memory, error) {
	t.Helper()
	var out memory
	var all []Layer
	for _, entries := range layers {
		all = append(all, layer(pack(t, entries...)))
	}
	_, err := FromLayers(t.Context(), &out, DefaultLimits, all)
	return out, err
}

func TestLayers(t *testing.T) {
	base := []entry{folder("etc"), file("etc/a", "a1"), file("etc/b", "b1"), file("etc/d/x", "x1"), file("etc/d/y", "y1")}
	for _, c := range []struct {
		name  string
		upper []entry
		want  string // names and contents below etc
	}{
		{"nothing", []entry{file("other", "")}, "a=a1 b=b1 d/x=x1 d/y=y1"},
		{"one replaced", []entry{file("etc/a", "a2")}, "a=a2 b=b1 d/x=x1 d/y=y1"},
		{"one removed", []entry{file("etc/.wh.a", "")}, "b=b1 d/x=x1 d/y=y1"},
		{"a directory removed", []entry{file("etc/.wh.d", "")}, "a=a1 b=b1"},
		{"removed and made anew", []entry{file("etc/.wh.d", ""), file("etc/d/z", "z2")}, "a=a1 b=b1 d/z=z2"},
		{"likewise, the other order", []entry{file("etc/d/z", "z2"), file("etc/.wh.d", "")}, "a=a1 b=b1 d/z=z2"},
		{"opaque", []entry{folder("etc/d"), file("etc/d/.wh..wh..opq", ""), file("etc/d/z", "z2")}, "a=a1 b=b1 d/z=z2"},
		{"opaque, at the end", []entry{file("etc/d/z", "z2"), file("etc/d/y", "y2"), file("etc/d/.wh..wh..opq", "")}, "a=a1 b=b1 d/y=y2 d/z=z2"},
		{"a removed file's other name", []entry{hardlink("etc/c", "etc/a"), file("etc/.wh.a", "")}, "b=b1 c=a1 d/x=x1 d/y=y1"},
		{"a whiteout of what is not there", []entry{file("etc/.wh.none", ""), file("no/.wh.none", "")}, "a=a1 b=b1 d/x=x1 d/y=y1"},
		{"marks of aufs", []entry{file(".wh..wh.plnk", ""), file("etc/.wh..wh.orph", "")}, "a=a1 b=b1 d/x=x1 d/y=y1"},
		{"a file over a directory", []entry{file("etc/d", "d2")}, "a=a1 b=b1 d=d2"},
	} {
		image, err := fromLayers(t, base, c.upper)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		files := contents(t, image)
		var got []string
		for _, pair := range strings.Fields(c.want) {
			name, content, _ := strings.Cut(pair, "=")
			if f := files["etc/"+name]; f.Data == erofstest.Sum(content) {
				got = append(got, pair)
			}
		}
		count := 0
		for name, f := range files {
			if strings.HasPrefix(name, "etc/") && f.Data != "" {
				count++
			}
		}
		if s := strings.Join(got, " "); s != c.want || count != len(got) {
			t.Errorf("%s: %s of %v, want %s", c.name, s, slices.Sorted(maps.Keys(files)), c.want)
		}
		if strings.Contains(strings.Join(erofstest.Names(files), " "), ".wh.") {
			t.Errorf("%s: a mark is left in %v", c.name, erofstest.Names(files))
		}
	}
}

func TestRemovedDataIsNotInTheImage(t *testing.T) {
	secret := strings.Repeat("secret! ", 10_000)
	image, err := fromLayers(t, []entry{file("a", secret), file("b", "1")}, []entry{file(".wh.a", "")})
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(image, []byte("secret!")) || len(image) > 4*4096 {
		t.Errorf("the image has %d bytes, with what was removed", len(image))
	}
}

func TestLayersRefused(t *testing.T) {
	for _, name := range []string{".wh...", ".wh..", "../.wh.a", ".wh."} {
		if _, err := fromLayers(t, []entry{file("a", "1")}, []entry{file(name, "")}); !errors.Is(err, ErrOutside) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := fromLayers(t, []entry{file("a", "1")}, []entry{file("../b", "1")})
	if !errors.Is(err, ErrOutside) || !strings.Contains(err.Error(), "layer 2") {
		t.Errorf("%v", err)
	}
}

// A layer that changes between its two readings is noticed.
func TestLayerChanges(t *testing.T) {
	readings := [][]byte{pack(t, file("a", "1"), file("b", "2")), pack(t, file("a", "1"))}
	l := Layer{Open: func() (io.ReadCloser, error) {
		data := readings[0]
		readings = readings[1:]
		return io.NopCloser(bytes.NewReader(data)), nil
	}}
	if _, err := FromLayers(t.Context(), &memory{}, DefaultLimits, []Layer{l}); err == nil {
		t.Error("it was not noticed")
	}
}

// FuzzTar feeds whatever bytes: an error, or an image that a reader can read,
// and the same one every time.
func FuzzTar(f *testing.F) {
	f.Add(pack(f, folder("d"), file("d/a", "hello"), hardlink("b", "d/a"), symlink("l", "d"), file("l/c", "x")), false)
	f.Add(pack(f, file("d/a", "1"), file("d/.wh.a", ""), file("d/.wh..wh..opq", "")), true)
	f.Add(pack(f, file("../a", "1")), false)
	x := file("x", "data")
	x.PAXRecords = map[string]string{"SCHILY.xattr.user.a": "v", "SCHILY.xattr.security.capability": "\x00\x01"}
	f.Add(pack(f, x), true)
	limits := Limits{Entries: 1000, Bytes: 1 << 20}
	build := func(data []byte, layers bool) (memory, error) {
		var out memory
		var err error
		if layers {
			_, err = FromLayers(context.Background(), &out, limits, []Layer{layer(data), layer(data)})
		} else {
			_, err = FromTar(context.Background(), &out, limits, layer(data))
		}
		return out, err
	}
	f.Fuzz(func(t *testing.T, data []byte, layers bool) {
		one, err := build(data, layers)
		if err != nil {
			return
		}
		two, err := build(data, layers)
		if err != nil || !bytes.Equal(one, two) {
			t.Fatalf("the second time it is another image (%v)", err)
		}
		if _, err := erofstest.Read(bytes.NewReader(one)); err != nil {
			t.Fatalf("the image can't be read: %v", err)
		}
	})
}
