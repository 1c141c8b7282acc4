package main

import (
	"errors"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const root = "../../.."

// Every fault still finds its lines, and its test is there: the tables don't
// rot unseen until somebody runs them.
func TestFaultsFollowTheCode(t *testing.T) {
	names := map[string]bool{}
	for _, f := range all() {
		if names[f.name] || f.name == "" || f.breaks == "" || f.was == f.now {
			t.Errorf("%q: a name of its own, a promise and a change are wanted", f.name)
		}
		names[f.name] = true
		src, err := f.mutate(root)
		if err != nil {
			t.Error(err)
			continue
		}
		if _, err := parser.ParseFile(token.NewFileSet(), f.file, src, parser.SkipObjectResolution); err != nil {
			t.Errorf("%s: %v", f.name, err)
		}
		test, _, _ := strings.Cut(f.run, "/")
		if !hasTest(t, f.pkg, strings.Trim(test, "^$")) {
			t.Errorf("%s: there is no test %s in %s", f.name, f.run, f.pkg)
		}
	}
	if len(names) < 12 {
		t.Errorf("%d faults: twelve at least", len(names))
	}
}

// hasTest looks for a test in a package's files.
func hasTest(t *testing.T, pkg, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(pkg), "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	decl := regexp.MustCompile(`(?m)^func ` + regexp.QuoteMeta(name) + `\(`)
	for _, file := range files {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if decl.Match(src) {
			return true
		}
	}
	return false
}

func TestMutateRefuses(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.go"), []byte("one\ntwo\ntwo\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for was, good := range map[string]bool{"one\n": true, "two\n": false, "three\n": false, "ne\n": false, "one": false} {
		f := fault{name: "f", file: "a.go", was: was, now: "1\n"}
		if got, err := f.mutate(dir); (err == nil) != good || good && string(got) != "1\ntwo\ntwo\n" {
			t.Errorf("%q: %q, %v", was, got, err)
		}
	}
}

func TestJudge(t *testing.T) {
	status := errors.New("exit status 1")
	for out, c := range map[string]struct {
		err  error
		want verdict
	}{
		"PASS\n": {nil, verdict{ran: true, passed: true}},
		"testing: warning: no tests to run\nPASS\n": {nil, verdict{}},
		"--- FAIL: TestX (0.1s)\n    x.go:9: a log\n    x_test.go:3: lost: 3\n    x_test.go:4: more\nFAIL\n": {
			status, verdict{ran: true, failed: true, failure: "lost: 3"},
		},
		"--- FAIL: TestX (0.1s)\n    --- FAIL: TestX/a (0.1s)\n        d_test.go:3: \n            story.txt:4:\n              stop a\nFAIL\n": {
			status, verdict{ran: true, failed: true, failure: "story.txt:4: stop a"},
		},
		"--- FAIL: TestX (0.1s)\npanic: nil dereference\n": {status, verdict{ran: true, failure: "panic: nil dereference"}},
		"panic: test timed out after 2m0s\n":               {status, verdict{ran: true, failure: "panic: test timed out after 2m0s"}},
		"exit status 3\n":                                  {status, verdict{ran: true, failure: "exit status 1"}},
	} {
		if got := judge(out, c.err); got != c.want {
			t.Errorf("%q: %+v, want %+v", out, got, c.want)
		}
	}
}
