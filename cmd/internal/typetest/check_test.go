package typetest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const root = "../../.."

// checked are our packages whose bodies are checked too.
var checked = []string{"./hv/vz", "./cmd/arcbox-vmhost"}

// listed is a package as `go list` tells of it.
type listed struct {
	ImportPath, Dir   string
	GoFiles, CgoFiles []string
	ImportMap         map[string]string
	DepOnly           bool
	Error             *struct{ Err string }
}

// list is what a package of ours has on macOS with that processor, and all that it
// imports, before it.
func list(t *testing.T, arch string) []listed {
	t.Helper()
	args := append([]string{"list", "-e", "-deps", "-json=ImportPath,Dir,GoFiles,CgoFiles,ImportMap,DepOnly,Error"}, checked...)
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOOS=darwin", "GOARCH="+arch, "CGO_ENABLED=1")
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var all []listed
	for d := json.NewDecoder(&out); ; {
		var p listed
		err := d.Decode(&p)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err == nil && p.Error != nil {
			err = errors.New(p.Error.Err)
		}
		if err != nil {
			t.Fatalf("go list: %s: %v", p.ImportPath, err)
		}
		all = append(all, p)
	}
}

// world is what was checked so far.
type world struct {
	arch  string
	files *token.FileSet
	done  map[string]*types.Package
}

// imports finds what a package imports among what was checked before it.
type imports struct {
	*world
	names map[string]string
}

// Import implements types.Importer.
func (i imports) Import(path string) (*types.Package, error) {
	if path == "unsafe" {
		return types.Unsafe, nil
	}
	if name, ok := i.names[path]; ok {
		path = name
	}
	if p := i.done[path]; p != nil {
		return p, nil
	}
	return nil, fmt.Errorf("%s is not listed", path)
}

// check is what is wrong with a package. change makes a fault in a file before it
// is read; nil = none.
func (w *world) check(p listed, change func(name string, text []byte) []byte) (*types.Package, []error) {
	var errs []error
	var files []*ast.File
	for _, name := range slices.Concat(p.GoFiles, p.CgoFiles) {
		text, err := os.ReadFile(filepath.Join(p.Dir, name))
		if err != nil {
			return nil, []error{err}
		}
		if change != nil {
			text = change(name, text)
		}
		f, err := parser.ParseFile(w.files, filepath.Join(p.Dir, name), text, parser.SkipObjectResolution)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		files = append(files, f)
	}
	conf := types.Config{
		FakeImportC: true, IgnoreFuncBodies: p.DepOnly, Sizes: types.SizesFor("gc", w.arch),
		Importer: imports{w, p.ImportMap}, Error: func(err error) { errs = append(errs, err) },
	}
	pkg, _ := conf.Check(p.ImportPath, w.files, files, nil) // errs has every error
	return pkg, errs
}

// checkAll checks all packages, and returns ours by their import path.
func checkAll(t *testing.T, arch string) (*world, map[string]listed) {
	t.Helper()
	w := &world{arch: arch, files: token.NewFileSet(), done: map[string]*types.Package{}}
	ours := map[string]listed{}
	for _, p := range list(t, arch) {
		if p.ImportPath == "unsafe" {
			continue
		}
		pkg, errs := w.check(p, nil)
		for _, err := range errs {
			t.Errorf("%s: %v", p.ImportPath, err)
		}
		w.done[p.ImportPath] = pkg
		if !p.DepOnly {
			ours[p.ImportPath] = p
		}
	}
	t.Logf("darwin/%s: %d packages, of which these with their bodies: %v", arch, len(w.done), slices.Sorted(maps.Keys(ours)))
	return w, ours
}

const (
	driver  = "github.com/arcboxlabs/arcbox-engine/hv/vz"
	binding = "github.com/Code-Hex/vz/v3"
)

// planted are faults, each with what has to be said of it.
var planted = []struct {
	name, file, was, now, want string
	archs                      []string
}{
	{
		name: "a method that is not there", file: "framework_darwin.go",
		was: "cfg.SetSocketDevicesVirtualMachineConfiguration(", now: "cfg.SetSocketDevices(", want: "cfg.SetSocketDevices undefined",
	},
	{
		name: "a method of another object", file: "framework_darwin.go",
		was: "a.vm.CanStop()", now: "a.sockets.CanStop()", want: "a.sockets.CanStop undefined",
	},
	{
		name: "an argument of another type", file: "framework_darwin.go",
		was: "vz.NewSharedDirectory(s.Path, s.ReadOnly)", now: "vz.NewSharedDirectory(s.Path, 1)", want: "cannot use 1",
	},
	{
		name: "an argument too many", file: "framework_darwin.go",
		was: "a.sockets.Connect(port)", now: "a.sockets.Connect(port, 0)", want: "too many arguments",
	},
	{
		name: "an error that is not taken", file: "framework_darwin.go",
		was: "ok, err := cfg.Validate()", now: "err := cfg.Validate()", want: "assignment mismatch",
	},
	{
		name: "a machine that lacks a method", file: "framework_darwin.go",
		was: "func (a *apple) May(", now: "func (a *apple) Might(", want: "missing method May",
	},
	{
		name: "Rosetta's constant by another name", file: "rosetta_darwin_arm64.go", archs: []string{"arm64"},
		was: "vz.LinuxRosettaAvailabilityNotInstalled", now: "vz.RosettaNotInstalled", want: "undefined: vz.RosettaNotInstalled",
	},
	{
		name: "Rosetta where there is none", file: "rosetta_darwin_amd64.go", archs: []string{"amd64"},
		was: "return nil, hv.ErrUnsupported", now: "return vz.NewLinuxRosettaDirectoryShare()", want: "undefined: vz.NewLinuxRosettaDirectoryShare",
	},
}

// TestDarwinTypes checks what a Mac would build, for both of its processors, and
// that each planted fault is caught.
func TestDarwinTypes(t *testing.T) {
	for _, arch := range []string{"arm64", "amd64"} {
		t.Run(arch, func(t *testing.T) {
			w, ours := checkAll(t, arch)
			if t.Failed() {
				return
			}
			holdsSocket(t, w.done[binding])
			for _, f := range planted {
				if f.archs != nil && !slices.Contains(f.archs, arch) {
					continue
				}
				found := false
				_, errs := w.check(ours[driver], func(name string, text []byte) []byte {
					if name == f.file && bytes.Contains(text, []byte(f.was)) {
						found = true
						return bytes.Replace(text, []byte(f.was), []byte(f.now), 1)
					}
					return text
				})
				switch said := errors.Join(errs...); {
				case !found:
					t.Errorf("%s: %s has no %q: the fault's table is to follow", f.name, f.file, f.was)
				case said == nil || !strings.Contains(said.Error(), f.want):
					t.Errorf("%s: %v, want %q", f.name, said, f.want)
				default:
					t.Logf("%s: caught: %v", f.name, errs[0])
				}
			}
		})
	}
}

// holdsSocket: the driver takes the socket out of the binding's connection by the
// field's name.
func holdsSocket(t *testing.T, pkg *types.Package) {
	t.Helper()
	named := pkg.Scope().Lookup("VirtioSocketConnection")
	if named == nil {
		t.Fatal("the binding has no VirtioSocketConnection")
	}
	fields, ok := named.Type().Underlying().(*types.Struct)
	for i := range fields.NumFields() {
		if f := fields.Field(i); ok && f.Name() == "rawConn" && types.TypeString(f.Type(), nil) == "net.Conn" {
			return
		}
	}
	t.Errorf("VirtioSocketConnection has no rawConn of type net.Conn: %v", named.Type().Underlying())
}
