package tree

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protodelim"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

func entry(kind wire.CopyEntry_Kind, name string) *wire.CopyPart {
	return &wire.CopyPart{Part: &wire.CopyPart_Entry{Entry: &wire.CopyEntry{Kind: kind, Name: []byte(name), Mode: 0o755}}}
}

func file(name string) *wire.CopyPart      { return entry(wire.CopyEntry_KIND_FILE, name) }
func directory(name string) *wire.CopyPart { return entry(wire.CopyEntry_KIND_DIRECTORY, name) }

func link(name, target string) *wire.CopyPart {
	p := entry(wire.CopyEntry_KIND_LINK, name)
	p.GetEntry().Target = []byte(target)
	return p
}

func data(at int64, text string) *wire.CopyPart {
	return &wire.CopyPart{Part: &wire.CopyPart_Data{Data: &wire.CopyData{Offset: at, Data: []byte(text)}}}
}

func end(size int64) *wire.CopyPart {
	return &wire.CopyPart{Part: &wire.CopyPart_End{End: &wire.CopyEnd{Size: size}}}
}

// mistrust receives into a directory beside which something must not change.
func mistrust(t *testing.T, parts ...*wire.CopyPart) (string, Count, error) {
	t.Helper()
	outer := t.TempDir()
	into := filepath.Join(outer, "in")
	if err := errors.Join(os.WriteFile(filepath.Join(outer, "x"), []byte("kept"), 0o600), os.Mkdir(into, 0o700)); err != nil {
		t.Fatal(err)
	}
	var stats Stats
	err := Receive(Target{Path: into, Name: "copy"}, from(parts), &stats)
	contained(t, outer)
	return filepath.Join(into, "copy"), stats.Count(), err
}

// contained checks that all was written below in/copy, that no half of a file
// is left, and that no link there leads out.
func contained(t *testing.T, outer string) {
	t.Helper()
	if text, err := os.ReadFile(filepath.Join(outer, "x")); string(text) != "kept" {
		t.Errorf("a file outside was changed: %q, %v", text, err)
	}
	for dir, most := range map[string]int{outer: 2, filepath.Join(outer, "in"): 1} {
		if list, err := os.ReadDir(dir); err != nil || len(list) > most {
			t.Errorf("%s has %v, %v", dir, list, err)
		}
	}
	root, err := filepath.EvalSymlinks(filepath.Join(outer, "in"))
	if err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".part") {
			t.Errorf("left behind: %s", path)
		}
		if err != nil || d.Type()&fs.ModeSymlink == 0 {
			return err
		}
		if to, err := filepath.EvalSymlinks(path); err == nil && to != filepath.Join(root, "copy") && !strings.HasPrefix(to, filepath.Join(root, "copy")+"/") {
			t.Errorf("%s leads to %s", path, to)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestHostileParts(t *testing.T) {
	deep := []*wire.CopyPart{directory("")}
	for range maxDepth + 1 {
		deep = append(deep, directory("d"))
	}
	for name, c := range map[string]struct {
		parts []*wire.CopyPart
		want  string
	}{
		"nothing":              {nil, "end too early"},
		"an end":               {[]*wire.CopyPart{end(0)}, "want a file or a directory"},
		"an empty part":        {[]*wire.CopyPart{{}}, "want a file or a directory"},
		"a named first":        {[]*wire.CopyPart{file("x"), end(0)}, "without a name"},
		"a link first":         {[]*wire.CopyPart{link("", "x")}, "want a file or a directory"},
		"a path":               {[]*wire.CopyPart{directory(""), file("a/b")}, "one component"},
		"a way out":            {[]*wire.CopyPart{directory(""), file("..")}, "one component"},
		"a longer way out":     {[]*wire.CopyPart{directory(""), file("../x")}, "one component"},
		"the root":             {[]*wire.CopyPart{directory(""), file("/x")}, "one component"},
		"itself":               {[]*wire.CopyPart{directory(""), directory(".")}, "one component"},
		"no name":              {[]*wire.CopyPart{directory(""), directory("")}, "one component"},
		"NUL":                  {[]*wire.CopyPart{directory(""), file("a\x00b")}, "one component"},
		"a long name":          {[]*wire.CopyPart{directory(""), file(strings.Repeat("x", maxName+1))}, "one component"},
		"an unknown kind":      {[]*wire.CopyPart{directory(""), entry(99, "x")}, "kind"},
		"data in a directory":  {[]*wire.CopyPart{directory(""), data(0, "x")}, "one component"},
		"a file in a file":     {[]*wire.CopyPart{directory(""), file("a"), file("b")}, "within a file"},
		"backwards":            {[]*wire.CopyPart{file(""), data(5, "abc"), data(7, "x")}, "1 bytes at 7, behind 8"},
		"before the beginning": {[]*wire.CopyPart{file(""), data(-1, "abc")}, "at -1"},
		"behind every end":     {[]*wire.CopyPart{file(""), data(math.MaxInt64-1, "abc")}, "behind 0"},
		"too much at once":     {[]*wire.CopyPart{file(""), data(0, strings.Repeat("x", wire.MaxChunk+1))}, "65537 bytes"},
		"shorter than it is":   {[]*wire.CopyPart{file(""), data(0, "abc"), end(2)}, "3 bytes ends at 2"},
		"cut short":            {[]*wire.CopyPart{file(""), data(0, "abc")}, "end too early"},
		"cut short in a tree":  {[]*wire.CopyPart{directory(""), file("a"), data(0, "abc")}, "end too early"},
		"more behind":          {[]*wire.CopyPart{file(""), end(0), end(0)}, "behind the end"},
		"deep":                 {deep, "in each other"},
		"through a link":       {[]*wire.CopyPart{directory(""), link("l", "."), directory("l"), file("x"), end(0)}, "l is in the way"},
		"a link to nowhere":    {[]*wire.CopyPart{directory(""), link("l", "")}, "leads to 0 bytes"},
		"a link with NUL":      {[]*wire.CopyPart{directory(""), link("l", "a\x00")}, "leads to 2 bytes"},
	} {
		if _, _, err := mistrust(t, c.parts...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// TestLinksThatLeadOut are left out, also those that do so by another one.
func TestLinksThatLeadOut(t *testing.T) {
	where, count, err := mistrust(t, directory(""),
		link("abs", "/etc"), link("up", ".."), link("self", "."), link("by", "self/../x"), link("down", "sub/x"),
		directory("sub"), link("up", "../down"), link("over", "../../in/copy"), end(0),
		entry(wire.CopyEntry_KIND_OTHER, "socket"), end(0))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		`abs: a link to "/etc", out of the copy`, `up: a link to "..", out of the copy`, `by: a link to "self/../x", out of the copy`,
		`sub/over: a link to "../../in/copy", out of the copy`, "socket: neither a file nor a directory",
	}
	if count.Left != 5 || strings.Join(count.LeftNames, "\n") != strings.Join(want, "\n") {
		t.Errorf("left out: %d, %q", count.Left, count.LeftNames)
	}
	if got := len(look(t, where)); got != 5 { // itself, self, down, sub, sub/up
		t.Errorf("%d entries: %q", got, look(t, where))
	}
}

// TestNothingGrantsRights of another: not even where the sender says so.
func TestNothingGrantsRights(t *testing.T) {
	f, d := file("f"), directory("")
	f.GetEntry().Mode, d.GetEntry().Mode = 0o106777, 0o7777
	where, _, err := mistrust(t, d, f, end(0), end(0))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range look(t, where) {
		if !strings.Contains(line, "rwxrwxrwx ") || strings.ContainsAny(strings.Fields(line)[1], "ugt") {
			t.Error(line)
		}
	}
}

// TestReplacedDirectory: who can write in the target swaps a directory for a
// link out of it while the copy goes on.
func TestReplacedDirectory(t *testing.T) {
	outer := t.TempDir()
	parts := []*wire.CopyPart{directory(""), directory("sub"), file("x"), data(0, "evil"), end(4), end(0), end(0)}
	next := from(parts)
	err := errors.Join(os.WriteFile(filepath.Join(outer, "x"), []byte("kept"), 0o600), os.Mkdir(filepath.Join(outer, "in"), 0o700))
	if err != nil {
		t.Fatal(err)
	}
	err = Receive(Target{Path: filepath.Join(outer, "in"), Name: "copy"}, func() (*wire.CopyPart, error) {
		p, err := next()
		if string(p.GetEntry().GetName()) == "x" {
			sub := filepath.Join(outer, "in", "copy", "sub")
			if err := errors.Join(os.Remove(sub), os.Symlink("../..", sub)); err != nil {
				t.Error(err)
			}
		}
		return p, err
	}, &Stats{})
	if err == nil || errors.Is(err, ErrParts) {
		t.Errorf("received with %v", err)
	}
	if text, err := os.ReadFile(filepath.Join(outer, "x")); string(text) != "kept" {
		t.Errorf("a file outside was changed: %q, %v", text, err)
	}
}

// TestCancelled ends in the middle of a file, for the reason given.
func TestCancelled(t *testing.T) {
	dir, why := grow(t), errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	n := 0
	err := Send(ctx, dir, func(*wire.CopyPart) error {
		if n++; n == 3 {
			cancel(why)
		}
		return nil
	}, &Stats{})
	if !errors.Is(err, why) {
		t.Errorf("%v after %d parts", err, n)
	}
	if err := SendStream(t.Context(), io.MultiReader(strings.NewReader("x"), failing{why}), func(*wire.CopyPart) error { return nil }, &Stats{}); !errors.Is(err, why) {
		t.Errorf("a stream that fails: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// FuzzReceive: whatever comes, it stays below the target, no half of a file is
// left, and no link leads out.
func FuzzReceive(f *testing.F) {
	for _, parts := range [][]*wire.CopyPart{
		{directory(""), file("a"), data(1, "b"), end(3), link("l", "../x"), directory("d"), link("u", ".."), end(0), end(0)},
		{file(""), data(0, "x"), end(1)},
		{directory(""), link("l", "m/.."), link("m", "."), directory("l"), file("x"), end(0), end(0), end(0)},
	} {
		var b bytes.Buffer
		for _, p := range parts {
			if _, err := protodelim.MarshalTo(&b, p); err != nil {
				f.Fatal(err)
			}
		}
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var parts []*wire.CopyPart
		for r := bytes.NewReader(in); r.Len() > 0 && len(parts) < 64; {
			p := &wire.CopyPart{}
			if protodelim.UnmarshalFrom(r, p) != nil {
				break
			}
			parts = append(parts, p)
		}
		_, _, _ = mistrust(t, parts...)
	})
}

// FuzzLeadsOut: a link that is taken for harmless leads nowhere else, by the
// kernel's own word, where every name on its way is a link to the tree's top.
func FuzzLeadsOut(f *testing.F) {
	for _, target := range []string{"a", "../a", "a/..", "./../b/a", "/", "..//..", "a/./b"} {
		f.Add(target, "d/l")
	}
	f.Fuzz(func(t *testing.T, target, at string) {
		if len(target) > 64 || at != "l" && at != "d/l" && at != "d/d/l" || target == "" || strings.ContainsRune(target, 0) || leadsOut(at, target) {
			return
		}
		top := filepath.Join(t.TempDir(), "top")
		if err := os.MkdirAll(filepath.Join(top, "d", "d"), 0o700); err != nil {
			t.Fatal(err)
		}
		for _, dir := range []string{"", "d", "d/d"} {
			for name := range strings.SplitSeq(target, "/") {
				_ = os.Symlink(top, filepath.Join(top, dir, name)) // not where it is one already, or no name
			}
		}
		if os.Symlink(target, filepath.Join(top, at)) != nil {
			return
		}
		top, err := filepath.EvalSymlinks(top)
		if err != nil {
			t.Fatal(err)
		}
		if to, err := filepath.EvalSymlinks(filepath.Join(top, at)); err == nil && to != top && !strings.HasPrefix(to, top+"/") {
			t.Errorf("%q at %s leads to %s", target, at, to)
		}
	})
}
