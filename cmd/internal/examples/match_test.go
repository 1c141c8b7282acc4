package examples

import (
	"strings"
	"testing"
)

func TestCompare(t *testing.T) {
	for _, c := range []struct {
		what, want, got string
		same            bool
	}{
		{"nothing", "", "", true},
		{"nothing, and a line", "", "a\n", false},
		{"a line, and nothing", "a", "", false},
		{"the same", "a\nb", "a\nb\n", true},
		{"another order", "a\nb", "b\na\n", false},
		{"columns", "NAME STATE\nweb  Running", "NAME      STATE\nweb       Running  \n", true},
		{"an indent is no blank line", "  a", "      a\n", true},
		{"an indent is one", "a", "  a\n", false},
		{"empty lines at the end", "a\n", "a\n\n\n", true},
		{"an empty line between", "a\n\nb", "a\nb\n", false},
		{"text", "created ... now", "created 01a2 b now\n", true},
		{"no text", "a...b", "ab\n", true},
		{"what is before", "x...", "ax\n", false},
		{"what is behind", "...x", "xa\n", false},
		{"before and behind may not be the same letters", "aba...aba", "ababa\n", false},
		{"texts", "a...b...c", "a1b2b3c\n", true},
		{"texts in another order", "a...c...b...d", "abcd\n", false},
		{"lines", "a\n...\nz", "a\nb\nc\nz\n", true},
		{"no lines", "a\n...\nz", "a\nz\n", true},
		{"lines at the end", "a\n...", "a\nb\nc\n", true},
		{"lines, and not the last", "...\nz", "a\nb\n", false},
		{"nothing but lines", "...", "", true},
		{"lines and lines", "...\nm\n...", "a\nm\nb\nm\nc\n", true},
		{"indented dots are text", "  ...", "  a\n", true},
		{"indented dots are one line", "  ...", "  a\n  b\n", false},
	} {
		e := Example{}
		if c.want != "" {
			e.Want = strings.Split(c.want, "\n")
		}
		if diff := e.Compare(c.got); (diff == "") != c.same {
			t.Errorf("%s: %q against %q: the same is %t\n%s", c.what, c.want, c.got, !c.same, diff)
		}
	}
}

func TestDiff(t *testing.T) {
	e := Example{Want: []string{"a", "b ...", "...", "y", "z"}}
	const want = "  a\n- b ...\n  c\n  d\n  y\n- z\n+ Z\n" // c may be one of any lines
	if got := e.Compare("a\nc\nd\ny\nZ\n"); got != want {
		t.Errorf("the diff is\n%s, want\n%s", got, want)
	}
	if got := e.Compare("a\nb 1\nb 2\ny\nz\n"); got != "" {
		t.Errorf("a diff of what is the same:\n%s", got)
	}
}

// FuzzCompare: what was printed is always as itself, and no text is too much.
func FuzzCompare(f *testing.F) {
	f.Add("a\n...\nb", "a\n\tb\n")
	f.Fuzz(func(t *testing.T, want, got string) {
		if len(want)+len(got) > 200 {
			return
		}
		e := Example{Want: strings.Split(want, "\n")}
		if e.Compare(got) == "" && want == "" && strings.TrimSpace(got) != "" {
			t.Errorf("%q is as nothing", got)
		}
		if diff := (Example{Want: strings.Split(got, "\n")}).Compare(got); diff != "" {
			t.Errorf("%q is not as itself:\n%s", got, diff)
		}
	})
}
