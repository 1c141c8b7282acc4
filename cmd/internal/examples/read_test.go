package examples

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestRead(t *testing.T) {
	page, err := Read("a.md", strings.Join([]string{
		"Text with a $ in it.", "", "```console", "$ arcbox list -q", "db", "> not a command", "$ cat >f <<'END'", "> one", ">", "> two", "> END", "$ true", "```",
		"", "```sh", "$ sudo nothing", "```", "```", "$ no example", "```", "- indented", "  ```console", "$ echo a b", "a b", "", "  ```",
	}, "\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := []Example{
		{"a.md", 4, "arcbox list -q", []string{"db", "> not a command"}},
		{"a.md", 7, "cat >f <<'END'\none\n\ntwo\nEND", nil},
		{"a.md", 12, "true", nil},
		{"a.md", 23, "echo a b", []string{"a b", ""}},
	}
	same := func(a, b Example) bool {
		return a.Page == b.Page && a.Line == b.Line && a.Command == b.Command && slices.Equal(a.Want, b.Want)
	}
	if !slices.EqualFunc(page.Examples, want, same) {
		t.Errorf("read\n%+v, want\n%+v", page.Examples, want)
	}
	if page.Aside != 1 {
		t.Errorf("%d blocks can't be run, want 1", page.Aside)
	}
}

func TestReadRefuses(t *testing.T) {
	for what, c := range map[string]struct{ text, says string }{
		"no command":               {"\n```console\narcbox list\n```\n", `a.md:3: a block of examples begins with "arcbox list"`},
		"none in the second block": {"```console\n$ true\n```\n\n```console\nleft over\n```\n", "a.md:6: "},
		"no end":                   {"```console\n$ true\n", "a.md:1: this block does not end"},
	} {
		if _, err := Read("a.md", c.text); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", what, err, c.says)
		}
	}
}

// TestDocuments: every block of every document can be read, so that a slip is
// found without a machine.
func TestDocuments(t *testing.T) {
	pages, err := filepath.Glob("../../../docs/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatal(pages, err)
	}
	for _, path := range append(pages, "../../../README.md") {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Read(filepath.Base(path), string(text)); err != nil {
			t.Error(err)
		}
	}
}
