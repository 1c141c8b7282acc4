package archtest

import (
	"bytes"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const root = "../../.."

// source is one parsed file.
type source struct {
	path string // from the root
	test bool
	*ast.File
}

// packages parses every Go file of the module. That the test opens them all is
// also what makes a cached result of it go stale.
func packages(t *testing.T) map[string][]source {
	t.Helper()
	found := map[string][]source{}
	files := token.NewFileSet()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if path != root && (name == "testdata" || name == "vendor" || name == "bin" || name[0] == '.' || name[0] == '_') {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || name[0] == '.' || name[0] == '_' {
			return nil
		}
		f, err := parser.ParseFile(files, path, nil, parser.ImportsOnly|parser.ParseComments)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // an editor's file that is gone again
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		pkg := filepath.ToSlash(filepath.Dir(rel))
		found[pkg] = append(found[pkg], source{rel, strings.HasSuffix(name, "_test.go"), f})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestEveryPackageHasARow(t *testing.T) {
	found := packages(t)
	for pkg := range found {
		if _, ok := table[pkg]; !ok {
			t.Errorf("%s has no row: say in cmd/internal/archtest/table.go what it may import", pkg)
		}
	}
	for pkg, r := range table {
		if len(found[pkg]) == 0 {
			t.Errorf("the row %s has no package: remove it", pkg)
		}
		for _, other := range append(slices.Clone(r.may), r.tests...) {
			if _, ok := table[other]; !ok {
				t.Errorf("the row %s allows %s, which has no row", pkg, other)
			}
		}
	}
}

func TestImports(t *testing.T) {
	for pkg, files := range packages(t) {
		r := table[pkg]
		for _, f := range files {
			for _, spec := range f.Imports {
				path, err := strconv.Unquote(spec.Path.Value)
				if err != nil {
					t.Fatal(err)
				}
				if r.pure && !f.test && slices.Contains(impure, path) {
					t.Errorf("%s: %s may not import %s: it does no I/O, so that every run of it is the same", f.path, pkg, path)
				}
				ours, ok := strings.CutPrefix(path, module)
				if !ok || slices.Contains(r.may, ours) || f.test && (ours == pkg || slices.Contains(r.tests, ours)) {
					continue
				}
				t.Errorf("%s: %s may not import %s", f.path, pkg, ours)
			}
		}
	}
}

func TestNoCircles(t *testing.T) {
	for pkg, r := range table {
		for _, other := range r.may {
			if slices.Contains(table[other].may, pkg) {
				t.Errorf("%s and %s may import each other", pkg, other)
			}
		}
	}
}

func TestOnePackageComment(t *testing.T) {
	for pkg, files := range packages(t) {
		var with []string
		for _, f := range files {
			if f.Doc != nil && !f.test {
				with = append(with, f.path)
			}
		}
		if len(with) != 1 {
			t.Errorf("%s: package comments in %v: exactly one is wanted", pkg, with)
		}
	}
}

// A dependency may come in by way of others, so the linker's list is asked.
func TestBinariesStaySmall(t *testing.T) {
	for _, system := range []string{"linux", "darwin"} {
		for _, b := range bans {
			if system == "darwin" && b.binary == "cmd/arcbox-agent" {
				continue // runs in Linux guests only
			}
			for _, dep := range dependencies(t, system, b.binary) {
				if dep == b.path || strings.HasPrefix(dep, b.path+"/") {
					t.Errorf("%s (%s) links %s: %s", b.binary, system, dep, b.why)
				}
			}
		}
	}
}

// known keeps what dependencies has found: several bans are about one binary.
var known = map[string][]string{}

func dependencies(t *testing.T, system, pkg string) []string {
	t.Helper()
	key := system + " " + pkg
	if known[key] != nil {
		return known[key]
	}
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "./"+pkg)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOOS="+system, "CGO_ENABLED=0")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list -deps ./%s: %v\n%s", pkg, err, stderr.String())
	}
	known[key] = strings.Fields(string(out))
	return known[key]
}
