package tree

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// from yields parts that are there.
func from(parts []*wire.CopyPart) Source {
	return func() (*wire.CopyPart, error) {
		if len(parts) == 0 {
			return nil, io.EOF
		}
		p := parts[0]
		parts = parts[1:]
		return p, nil
	}
}

// kept collects parts.
func kept(parts *[]*wire.CopyPart) Sink {
	return func(p *wire.CopyPart) error {
		*parts = append(*parts, proto.CloneOf(p))
		return nil
	}
}

// carry copies from a path to a target.
func carry(t *testing.T, path string, to Target) (Count, error) {
	t.Helper()
	var parts []*wire.CopyPart
	var sent, got Stats
	if err := Send(t.Context(), path, kept(&parts), &sent); err != nil {
		return sent.Count(), err
	}
	err := Receive(to, from(parts), &got)
	if s, g := sent.Count(), got.Count(); err == nil && (s.Files != g.Files || s.Bytes != g.Bytes || s.Total != g.Total) {
		t.Errorf("sent %+v, received %+v", s, g)
	}
	return got.Count(), err
}

// look describes a tree: one line for each of its entries.
func look(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		line := fmt.Sprintf("%s %v", name, info.Mode())
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			target, _ := os.Readlink(path)
			line += " → " + target
		case info.Mode().IsRegular():
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" %x %v", sha256.Sum256(b), info.ModTime().UnixNano())
		default:
			line += fmt.Sprintf(" %v", info.ModTime().UnixNano())
		}
		out = append(out, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// timeless leaves the times of directories out.
func timeless(lines []string) []string {
	var out []string
	for _, line := range lines {
		if name, rest, ok := strings.Cut(line, " d"); ok {
			line, _, _ = strings.Cut(rest, " ")
			line = name + " d" + line
		}
		out = append(out, line)
	}
	return out
}

var long = time.Date(2001, 2, 3, 4, 5, 6, 789, time.UTC)

// grow makes a tree with one of everything that is copied.
func grow(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tree")
	big := make([]byte, 3*wire.MaxChunk+17)
	for i := range big {
		big[i] = byte(rand.Uint32())
	}
	for _, e := range []struct {
		name string
		mode fs.FileMode
		data []byte
	}{
		{"", fs.ModeDir | 0o755, nil}, {"empty", 0o600, nil}, {"big", 0o640, big}, {"run", 0o755, []byte("#!/bin/sh\n")},
		{"sub", fs.ModeDir | 0o750, nil}, {"sub/deep", fs.ModeDir | 0o700, nil}, {"sub/deep/o'dd \n\xff", 0o444, []byte("x")}, {"none", fs.ModeDir | 0o755, nil},
	} {
		path := filepath.Join(dir, e.name)
		var err error
		if e.mode.IsDir() {
			err = os.Mkdir(path, 0o700)
		} else {
			err = os.WriteFile(path, e.data, 0o600)
		}
		if err := errors.Join(err, os.Chmod(path, e.mode.Perm())); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{"link": "run", "sub/up": "../big", "sub/deep/dangling": "nothing"} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"big", "sub/deep/o'dd \n\xff", "sub/deep", "sub", "none", ""} {
		if err := os.Chtimes(filepath.Join(dir, name), long, long); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestTree(t *testing.T) {
	dir := grow(t)
	want := look(t, dir)
	into := t.TempDir()
	for _, c := range []struct {
		to    Target
		where string
		again bool // directories that are there keep their own time
	}{
		{Target{Path: into, Name: "copy"}, filepath.Join(into, "copy"), false},
		{Target{Path: filepath.Join(into, "new"), Name: "tree"}, filepath.Join(into, "new"), false},
		{Target{Path: into, Name: "copy"}, filepath.Join(into, "copy"), true},
	} {
		count, err := carry(t, dir, c.to)
		if err != nil || count.Left != 0 || count.Files != 4 || count.Bytes != count.Total {
			t.Errorf("%+v: %+v, %v", c.to, count, err)
		}
		got := look(t, c.where)
		if c.again {
			got, want = timeless(got), timeless(want)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%+v:\n%s\nwant\n%s", c.to, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	// Its contents go among what is there, whose own modes stay.
	among := t.TempDir()
	if err := errors.Join(os.WriteFile(filepath.Join(among, "kept"), nil, 0o600), os.Chmod(among, 0o711)); err != nil {
		t.Fatal(err)
	}
	if _, err := carry(t, dir, Target{Path: among, Name: "."}); err != nil {
		t.Fatal(err)
	}
	if got := look(t, among); len(got) != len(want)+1 || !strings.Contains(got[0], "drwx--x--x") {
		t.Errorf("%q", got)
	}
}

func TestFile(t *testing.T) {
	dir, into := grow(t), t.TempDir()
	read := func(path string) string {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Error(err)
		}
		return string(b)
	}
	run := read(filepath.Join(dir, "run"))
	if err := errors.Join(os.WriteFile(filepath.Join(into, "old"), []byte("old"), 0o600), os.Symlink("old", filepath.Join(into, "link"))); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ path, name, where string }{
		{into, "run", "run"},
		{filepath.Join(into, "new"), "run", "new"},
		{filepath.Join(into, "old"), "run", "old"},
		{into, "run", "run"},
	} {
		if _, err := carry(t, filepath.Join(dir, "link"), Target{Path: c.path, Name: c.name}); err != nil { // followed, since it was asked for
			t.Fatal(err)
		}
		info, err := os.Lstat(filepath.Join(into, c.where))
		if err != nil || info.Mode() != 0o755 || read(filepath.Join(into, c.where)) != run {
			t.Errorf("%+v: %v, %v", c, info, err)
		}
	}
	if _, err := carry(t, filepath.Join(dir, "big"), Target{Path: filepath.Join(into, "link")}); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(filepath.Join(into, "link")); err != nil || info.Mode()&fs.ModeSymlink == 0 || read(filepath.Join(into, "old")) != read(filepath.Join(dir, "big")) {
		t.Error("a link was not written through")
	}
}

func TestRefusals(t *testing.T) {
	dir, into := grow(t), t.TempDir()
	if err := errors.Join(os.Mkdir(filepath.Join(into, "run"), 0o700), os.WriteFile(filepath.Join(into, "sub"), nil, 0o600),
		os.Symlink(dir, filepath.Join(into, "tree")), syscall.Mkfifo(filepath.Join(into, "pipe"), 0o600)); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		path string
		to   Target
		want string
	}{
		"nothing there":         {"nothing", Target{Path: into, Name: "x"}, "no such file"},
		"no file":               {"/dev/null", Target{Path: into, Name: "x"}, "neither a file nor a directory"},
		"file on directory":     {"run", Target{Path: into, Name: "run"}, "run is in the way, and a directory"},
		"directory on file":     {"sub", Target{Path: into, Name: "sub"}, "sub is in the way, and not a directory"},
		"directory on a link":   {"", Target{Path: into, Name: "tree"}, "tree is in the way, and not a directory"},
		"directory as a file":   {"sub", Target{Path: filepath.Join(into, "sub")}, "is not a directory"},
		"not into a file":       {"run", Target{Path: filepath.Join(into, "sub"), Into: true}, "is not a directory"},
		"not into nothing":      {"run", Target{Path: filepath.Join(into, "x"), Into: true}, "no such directory"},
		"no directory named":    {"run", Target{Path: into + "/x/"}, "no such directory"},
		"no parent":             {"run", Target{Path: into + "/x/y"}, "no such file"},
		"a pipe":                {"run", Target{Path: filepath.Join(into, "pipe")}, "neither a file nor a directory"},
		"a stream has no name":  {"run", Target{Path: into}, "a name is needed"},
		"a name that leads out": {"run", Target{Path: into, Name: "../x"}, "one component"},
	} {
		path := c.path
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		if _, err := carry(t, path, c.to); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	noParts(t, into)
}

// noParts checks that nothing half-written is left.
func noParts(t *testing.T, dir string) {
	t.Helper()
	for _, line := range look(t, dir) {
		if strings.Contains(line, ".part ") {
			t.Errorf("left behind: %s", line)
		}
	}
}

// TestSparse: holes stay holes, and runs of zeros become some.
func TestSparse(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	f, err := os.Create(from)
	if err != nil {
		t.Fatal(err)
	}
	const size = 1<<30 + 5
	_, err1 := f.WriteAt([]byte("middle"), size/2)
	_, err2 := f.WriteAt(make([]byte, 4<<20), 64<<20)
	if err := errors.Join(err1, err2, f.Truncate(size), f.Close()); err != nil {
		t.Fatal(err)
	}
	count, err := carry(t, from, Target{Path: to})
	if err != nil || count.Bytes != size || count.Total != size {
		t.Fatalf("%+v, %v", count, err)
	}
	info, err := os.Stat(to)
	if err != nil {
		t.Fatal(err)
	}
	if blocks := info.Sys().(*syscall.Stat_t).Blocks; info.Size() != size || blocks > 1<<20/512 {
		t.Errorf("%d bytes in %d blocks", info.Size(), blocks)
	}
	got := make([]byte, 8)
	if f, err = os.Open(to); err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.ReadAt(got, size/2-1); err != nil || string(got) != "\x00middle\x00" {
		t.Errorf("%q, %v", got, err)
	}
}

// TestStreams: a file from a stream and to one, holes as zeros; and a file
// that does not say how long it is.
func TestStreams(t *testing.T) {
	dir := t.TempDir()
	data := append(make([]byte, 2*wire.Chunk), append([]byte("text"), make([]byte, wire.Chunk+7)...)...)
	var parts []*wire.CopyPart
	if err := SendStream(t.Context(), bytes.NewReader(data), kept(&parts), &Stats{}); err != nil || len(parts) != 3 {
		t.Fatalf("%d parts, %v", len(parts), err)
	}
	var out bytes.Buffer
	if err := ReceiveStream(&out, from(parts), &Stats{}); err != nil || !bytes.Equal(out.Bytes(), data) {
		t.Errorf("%d bytes, %v", out.Len(), err)
	}
	path := filepath.Join(dir, "file")
	if err := Receive(Target{Path: path}, from(parts), &Stats{}); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(path); err != nil || !bytes.Equal(b, data) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	// A file that it replaces gives it its mode and, where allowed, its owner.
	if err := os.Chmod(path, 0o751); err != nil {
		t.Fatal(err)
	}
	wantOwner := uint32(os.Geteuid())
	if wantOwner == 0 {
		if wantOwner = 65534; os.Chown(path, int(wantOwner), -1) != nil {
			t.Fatal("root can't give a file away")
		}
	}
	if err := Receive(Target{Path: path}, from(parts), &Stats{}); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o751 || info.Sys().(*syscall.Stat_t).Uid != wantOwner {
		t.Errorf("%v, %v", info, err)
	}
	parts = nil
	if err := Send(t.Context(), "/proc/version", kept(&parts), &Stats{}); err != nil {
		t.Fatal(err)
	}
	out.Reset()
	want, _ := os.ReadFile("/proc/version")
	if err := ReceiveStream(&out, from(parts), &Stats{}); err != nil || !bytes.Equal(out.Bytes(), want) {
		t.Errorf("%q, %v", out.String(), err)
	}
	parts = nil
	if err := Send(t.Context(), dir, kept(&parts), &Stats{}); err != nil {
		t.Fatal(err)
	}
	if err := ReceiveStream(io.Discard, from(parts), &Stats{}); err == nil || !strings.Contains(err.Error(), "can't go to a stream") {
		t.Errorf("a directory: %v", err)
	}
}
