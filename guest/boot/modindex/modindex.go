package modindex

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// Module is one module of a kernel.
type Module struct {
	Name string // as the kernel knows it
	Path string // below the release's directory
	Info
}

// Info is what a module says of itself.
type Info struct {
	Depends  []string // names of modules that have to be there before
	Aliases  []string
	Softdeps []string // as the module says it: "pre: a b post: c"
	Symbols  []string // that others may use
}

// Builtin is what the kernel's packages say of what is built in.
type Builtin struct {
	Paths   []byte // modules.builtin
	Modinfo []byte // modules.builtin.modinfo
}

// NodesFile has a device node a line: module, name below /dev, kind and numbers.
const NodesFile = "modules.nodes"

// ErrUnfit is for modules that can't be indexed.
var ErrUnfit = errors.New("these modules can't be indexed")

// Files are the index files of modules, by name. The first modules have the say
// where several answer to one name: the caller orders them as modules.order does.
func Files(modules []Module, builtin Builtin) (map[string][]byte, error) {
	ix := index{byName: map[string]Module{}}
	for _, m := range modules {
		if _, twice := ix.byName[m.Name]; twice {
			return nil, fmt.Errorf("%w: two are called %q", ErrUnfit, m.Name)
		}
		ix.byName[m.Name] = m
	}
	ix.softdep.WriteString("# What else should be loaded, as the modules themselves say.\n")
	ix.alias.WriteString("# What the modules themselves say they answer to.\n")
	ix.symbol.WriteString("# Which module has a symbol.\n")
	for i, m := range modules {
		if err := ix.module(i, m); err != nil {
			return nil, err
		}
	}
	names, aliases := builtins(builtin)
	files := map[string][]byte{
		"modules.dep": ix.dep.Bytes(), "modules.dep.bin": ix.deps.bytes(),
		"modules.alias": ix.alias.Bytes(), "modules.alias.bin": ix.aliases.bytes(),
		"modules.symbols": ix.symbol.Bytes(), "modules.symbols.bin": ix.symbols.bytes(),
		"modules.softdep": ix.softdep.Bytes(), NodesFile: ix.devname.Bytes(),
		"modules.builtin.bin": names.bytes(), "modules.builtin.alias.bin": aliases.bytes(),
	}
	for name, data := range files {
		if data == nil && strings.HasSuffix(name, ".bin") {
			return nil, fmt.Errorf("%w: %s would be too long", ErrUnfit, name)
		}
	}
	return files, nil
}

// index is what is being made.
type index struct {
	byName                               map[string]Module
	dep, alias, symbol, softdep, devname bytes.Buffer
	deps, aliases, symbols               trie
}

// module adds the module of a number, which is also its priority.
func (ix *index) module(i int, m Module) error {
	for _, text := range slices.Concat([]string{m.Name, m.Path}, m.Aliases, m.Softdeps, m.Symbols) {
		if strings.ContainsAny(text, "\n\x00") {
			return fmt.Errorf("%w: %s: %q is no line", ErrUnfit, m.Name, text)
		}
	}
	if !usable(m.Name) || strings.ContainsAny(m.Name+m.Path, " \t:") {
		return fmt.Errorf("%w: the name %q of %q", ErrUnfit, m.Name, m.Path)
	}
	before, err := ix.before(m)
	if err != nil {
		return err
	}
	line := m.Path + ":"
	for _, d := range before {
		line += " " + d
	}
	ix.dep.WriteString(line + "\n")
	ix.deps.put(m.Name, value{i, line})
	for _, a := range m.Aliases {
		if a, ok := normal(a); ok {
			fmt.Fprintf(&ix.alias, "alias %s %s\n", a, m.Name)
			ix.aliases.put(a, value{i, m.Name})
		}
	}
	for _, s := range m.Symbols {
		if s = "symbol:" + s; usable(s) {
			fmt.Fprintf(&ix.symbol, "alias %s %s\n", s, m.Name)
			ix.symbols.put(s, value{i, m.Name})
		}
	}
	for _, s := range m.Softdeps {
		fmt.Fprintf(&ix.softdep, "softdep %s %s\n", m.Name, s)
	}
	if node := devnode(m.Aliases); node != "" {
		fmt.Fprintf(&ix.devname, "%s %s\n", m.Name, node)
	}
	return nil
}

// before are the paths of what a module needs, what has to be loaded first last.
// What no module has is built in.
func (ix *index) before(m Module) (paths []string, err error) {
	const visiting, done = 1, 2
	seen := map[string]int{m.Name: visiting}
	var visit func(m Module) error
	visit = func(m Module) error {
		for _, name := range m.Depends {
			d, ok := ix.byName[name]
			switch {
			case !ok || seen[name] == done:
				continue
			case seen[name] == visiting:
				return fmt.Errorf("%w: %s depends on itself", ErrUnfit, name)
			}
			seen[name] = visiting
			if err := visit(d); err != nil {
				return err
			}
			seen[name] = done
			paths = append(paths, d.Path)
		}
		return nil
	}
	err = visit(m)
	slices.Reverse(paths)
	return paths, err
}

// normal is an alias in the form in which it is looked for: hyphens count as
// underscores, but not between brackets. What can't be looked for is left out.
func normal(alias string) (string, bool) {
	if !usable(alias) || strings.ContainsAny(alias, " \t#") {
		return "", false
	}
	b, within := []byte(alias), false
	for i, c := range b {
		switch {
		case c == '[':
			within = true
		case c == ']' && !within:
			return "", false
		case c == ']':
			within = false
		case c == '-' && !within:
			b[i] = '_'
		}
	}
	return string(b), !within
}

// devnode is the device node that a module wants before it is loaded: name, kind,
// numbers. "" = none.
func devnode(aliases []string) string {
	var name, numbers string
	for _, a := range aliases {
		if n, ok := strings.CutPrefix(a, "devname:"); ok && name == "" && !strings.ContainsAny(n, " \t") {
			name = n
		}
		for _, kind := range []string{"char", "block"} {
			var major, minor uint32
			if n, err := fmt.Sscanf(a, kind+"-major-%d-%d", &major, &minor); n == 2 && err == nil && numbers == "" {
				numbers = fmt.Sprintf("%c%d:%d", kind[0], major, minor)
			}
		}
	}
	if name == "" || numbers == "" {
		return ""
	}
	return name + " " + numbers
}

// builtins are the names and the aliases of what is built in.
func builtins(b Builtin) (names, aliases trie) {
	for _, line := range strings.Fields(string(b.Paths)) {
		name, _, _ := strings.Cut(path.Base(line), ".ko")
		if name = strings.ReplaceAll(name, "-", "_"); usable(name) {
			names.put(name, value{})
		}
	}
	for _, pair := range strings.Split(string(b.Modinfo), "\x00") {
		name, rest, _ := strings.Cut(pair, ".")
		alias, ok := strings.CutPrefix(rest, "alias=")
		if alias, fit := normal(alias); ok && fit && !strings.ContainsAny(name, "\n") {
			aliases.put(alias, value{0, name})
		}
	}
	return names, aliases
}
