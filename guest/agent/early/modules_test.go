package early

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseModules(t *testing.T) {
	long := "/" + strings.Repeat("x", maxModulePath) + ".ko"
	for _, test := range []struct {
		name, text string
		want       []string
		bad        string
	}{
		{name: "empty"},
		{name: "usual", text: "/lib/modules/6.1/a.ko\n6.1/b.ko.xz\n\n /x/c.ko.zst \r\n",
			want: []string{"/lib/modules/6.1/a.ko", "/lib/modules/6.1/b.ko.xz", "/x/c.ko.zst"}},
		{name: "not a module", text: "/a.ko\n/etc/passwd\n/b.ko", want: []string{"/a.ko", "/b.ko"}, bad: "line 2"},
		{name: "too long", text: long, bad: "line 1"},
		{name: "NUL", text: "/a\x00.ko", bad: "NUL"},
	} {
		got, err := parseModules([]byte(test.text))
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: %s", test.name, diff)
		}
		if (err != nil) != (test.bad != "") || err != nil && !strings.Contains(err.Error(), test.bad) {
			t.Errorf("%s: %v, want %q", test.name, err, test.bad)
		}
	}
}

func FuzzParseModules(f *testing.F) {
	f.Add([]byte("/lib/modules/a.ko\nb.ko.xz\n"))
	f.Add([]byte(strings.Repeat("a.ko\n", maxModules+1)))
	f.Fuzz(func(t *testing.T, text []byte) {
		paths, err := parseModules(text)
		if len(paths) > maxModules {
			t.Fatalf("%d modules, err %v", len(paths), err)
		}
		for _, p := range paths {
			if p[0] != '/' || len(p) > maxModulePath {
				t.Fatalf("path %q", p)
			}
		}
	})
}

func TestFault(t *testing.T) {
	for _, test := range []struct {
		line string
		want bool
	}{
		{"quiet arcbox.test=hang", true},
		{"arcbox.test=no-agent,hang", true},
		{"arcbox.test=hangs", false},
		{"arcbox.test=", false},
		{"hang xarcbox.test=hang", false},
	} {
		if got := Fault(test.line, "hang"); got != test.want {
			t.Errorf("%q: %v", test.line, got)
		}
	}
}
