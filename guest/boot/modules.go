package boot

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/arcboxlabs/arcbox-engine/guest/files"
)

// maxModule bounds one unpacked module; the largest today is 15 MB.
const maxModule = 64 << 20

// want is a module that the guest should load.
type want struct {
	name     string
	required bool // without it there is no way to talk to the guest
}

// wanted is loaded in this order, each after what it depends on. pvpanic comes
// first so that a panic while the others load is seen by the host.
var wanted = []want{
	{"pvpanic_pci", false},
	{"virtio_pci", true},
	{"vsock", true},
	{"vmw_vsock_virtio_transport", true},
	{"virtio_console", false},
	{"virtio_rng", false},
	{"virtio_blk", false},
	{"virtio_net", false},
	{"tcp_diag", false}, // what listens in the guest is told by it
	{"button", false},   // the ACPI power button, and the way its events get out
	{"evdev", false},
}

// wantedRoot is loaded beside those, where a machine has an image and a data
// disk: they are more than all of the others.
var wantedRoot = []want{{"btrfs", false}, {"erofs", false}, {"overlay", false}}

// wantedShare is loaded beside those, where a machine has shares, of which Rosetta
// is one.
var wantedShare = []want{{"virtiofs", false}, {"binfmt_misc", false}}

// without are the modules that another list does not have.
func without(list, other []module) []module {
	return slices.DeleteFunc(slices.Clone(list), func(m module) bool {
		return slices.ContainsFunc(other, func(o module) bool { return o.name == m.name })
	})
}

// module is one to load: its name and its unpacked bytes.
type module struct {
	name string
	data []byte
}

// moduleTree is the modules directory of one kernel release.
type moduleTree struct {
	files   map[string]string // module name → path
	builtin map[string]bool
}

// openModules indexes dir, the directory that holds modules.builtin and kernel/.
func openModules(dir string) (*moduleTree, error) {
	t := &moduleTree{files: map[string]string{}, builtin: map[string]bool{}}
	list, err := os.ReadFile(filepath.Join(dir, "modules.builtin"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("kernel modules: %w", err)
	}
	for _, line := range strings.Fields(string(list)) {
		if name, ok := moduleName(line); ok {
			t.builtin[name] = true
		}
	}
	err = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name, ok := moduleName(p); ok && d.Type().IsRegular() {
			t.files[name] = p
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("kernel modules: %w", err)
	}
	return t, nil
}

// moduleName gives the name under which the kernel knows a module file: no
// directory, no suffix, no hyphens.
func moduleName(file string) (string, bool) {
	base := path.Base(file)
	for _, suffix := range []string{".ko", ".ko.xz", ".ko.zst", ".ko.gz"} {
		if name, ok := strings.CutSuffix(base, suffix); ok && name != "" {
			return strings.ReplaceAll(name, "-", "_"), true
		}
	}
	return "", false
}

// load reads and unpacks one module, and says what it depends on.
func (t *moduleTree) load(name string) (data []byte, depends []string, err error) {
	raw, err := files.Read(t.files[name], maxModule)
	if err != nil {
		return nil, nil, fmt.Errorf("kernel module %s: %w", name, err)
	}
	data, err = decompress(raw, maxModule)
	if err != nil {
		return nil, nil, fmt.Errorf("kernel module %s: %w", name, err)
	}
	depends, err = moduleDepends(data)
	if err != nil {
		return nil, nil, fmt.Errorf("kernel module %s: %w", name, err)
	}
	return data, depends, nil
}

// order returns what to load for the list: dependencies first, nothing twice,
// nothing that is built in. Missing optional modules are returned by name; a
// missing required one, or a missing dependency of one that is there, is an
// error.
func (t *moduleTree) order(list []want) (load []module, missing []string, err error) {
	const visiting, done = 1, 2
	seen := map[string]int{}
	var visit func(name string) error
	visit = func(name string) error {
		switch {
		case seen[name] == done:
			return nil
		case seen[name] == visiting:
			return fmt.Errorf("kernel module %s: depends on itself", name)
		case t.files[name] == "" && t.builtin[name]:
			return nil
		case t.files[name] == "":
			return fmt.Errorf("kernel module %s: neither built in nor in the kernel's packages", name)
		}
		seen[name] = visiting
		data, depends, err := t.load(name)
		if err != nil {
			return err
		}
		for _, d := range depends {
			if err := visit(d); err != nil {
				return fmt.Errorf("needed by %s: %w", name, err)
			}
		}
		seen[name] = done
		load = append(load, module{name, data})
		return nil
	}
	for _, w := range list {
		if !w.required && t.files[w.name] == "" && !t.builtin[w.name] {
			missing = append(missing, w.name)
			continue
		}
		if err := visit(w.name); err != nil {
			return nil, nil, err
		}
	}
	return load, missing, nil
}

// moduleDepends reads the names in the depends field of a module's .modinfo.
func moduleDepends(ko []byte) ([]string, error) {
	_, info, err := openModule(ko)
	if err != nil {
		return nil, err
	}
	return parseDepends(info)
}

// openModule reads a module's .modinfo: key=value pairs, each ended by NUL.
func openModule(ko []byte) (*elf.File, []byte, error) {
	f, err := elf.NewFile(bytes.NewReader(ko))
	if err != nil {
		return nil, nil, err
	}
	s := f.Section(".modinfo")
	if s == nil {
		return nil, nil, errors.New("no .modinfo section")
	}
	if s.Size > maxModule || s.Type == elf.SHT_NOBITS {
		return nil, nil, fmt.Errorf(".modinfo of %d bytes", s.Size)
	}
	info, err := s.Data()
	if err != nil {
		return nil, nil, fmt.Errorf(".modinfo: %w", err)
	}
	return f, info, nil
}

// parseDepends reads "depends=a,b-c" from NUL-separated key=value pairs. Names
// end up in file names, so only what the kernel's build can make is let through.
func parseDepends(info []byte) ([]string, error) {
	var depends []string
	for _, pair := range bytes.Split(info, []byte{0}) {
		list, ok := bytes.CutPrefix(pair, []byte("depends="))
		if !ok || len(list) == 0 {
			continue
		}
		for _, d := range strings.Split(string(list), ",") {
			name := strings.ReplaceAll(d, "-", "_")
			if !validModuleName(name) {
				return nil, fmt.Errorf("depends: %q is no module name (letters, digits, _ and -, at most 64)", d)
			}
			depends = append(depends, name)
		}
	}
	return depends, nil
}

func validModuleName(name string) bool {
	if name == "" || len(name) > 64 {
		return false
	}
	for _, c := range []byte(name) {
		if c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return true
}
