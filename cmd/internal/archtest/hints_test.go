package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// refusing are the packages that say no to a person, by way of the wire.
var refusing = []string{"actors", "actors/client", "actors/endpoint", "actors/hosts", "cmd/arcbox-engine"}

// codes are all that a refusal may have. Each is walked, and each has a next
// command to try.
var codes = []string{
	"CODE_INTERNAL", "CODE_BAD_INPUT", "CODE_NOT_FOUND", "CODE_CONFLICT", "CODE_TIMEOUT", "CODE_UNAVAILABLE", "CODE_UNSAFE", "CODE_FAILED", "CODE_LACKING",
}

// TestEveryRefusalHasANextCommand: where the engine refuses something it says what
// to try next. It walks the code, so that a refusal that no test reaches is found.
func TestEveryRefusalHasANextCommand(t *testing.T) {
	found := map[string]int{}
	fset := token.NewFileSet()
	for _, pkg := range refusing {
		files, err := filepath.Glob(filepath.Join(root, pkg, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatal(pkg, files, err)
		}
		for _, path := range files {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			f, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range f.Decls {
				w := walk{later: givesHint(d), found: found}
				ast.Inspect(d, w.look)
				for _, at := range w.bare {
					t.Errorf("%s: this refusal has no next command to try (hint)", fset.Position(at))
				}
			}
		}
	}
	for _, c := range codes {
		if found[c] == 0 {
			t.Errorf("no refusal has %s: it was overlooked, or the code is no longer needed", c)
		}
		delete(found, c)
	}
	if len(found) != 0 {
		t.Errorf("codes that this test does not know: %v", found)
	}
}

// walk goes through one declaration.
type walk struct {
	later bool // it sets a hint by an assignment
	found map[string]int
	bare  []token.Pos
}

func (w *walk) look(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.CallExpr:
		if name(n.Fun) == "refuse" && len(n.Args) >= 3 && empty(n.Args[1]) {
			w.bare = append(w.bare, n.Pos())
		}
	case *ast.CompositeLit:
		if kind := name(n.Type); (kind == "Refusal" || kind == "Refused") && len(n.Elts) > 0 && !w.later && !hinted(n) {
			w.bare = append(w.bare, n.Pos())
		}
	case *ast.SelectorExpr:
		if code, ok := strings.CutPrefix(n.Sel.Name, "Code_"); ok {
			w.found[code]++
		}
	}
	return true
}

// name is the last word of what is called or made.
func name(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	}
	return ""
}

func empty(e ast.Expr) bool {
	lit, ok := e.(*ast.BasicLit)
	return ok && lit.Value == `""`
}

// hinted says whether a refusal is made with a hint.
func hinted(lit *ast.CompositeLit) bool {
	return slices.ContainsFunc(lit.Elts, func(e ast.Expr) bool {
		kv, ok := e.(*ast.KeyValueExpr)
		return ok && name(kv.Key) == "Hint" && !empty(kv.Value)
	})
}

// givesHint says whether a declaration assigns a hint to what it made.
func givesHint(d ast.Decl) bool {
	found := false
	ast.Inspect(d, func(n ast.Node) bool {
		set, ok := n.(*ast.AssignStmt)
		found = found || ok && slices.ContainsFunc(set.Lhs, func(e ast.Expr) bool {
			sel, ok := e.(*ast.SelectorExpr)
			return ok && sel.Sel.Name == "Hint"
		})
		return !found
	})
	return found
}
