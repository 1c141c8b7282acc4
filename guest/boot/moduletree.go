package boot

import (
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/arcboxlabs/arcbox-engine/guest/boot/modindex"
	"github.com/arcboxlabs/arcbox-engine/guest/files"
	"github.com/arcboxlabs/arcbox-engine/guest/image/erofs"
)

// treeLayout is the version of what a tree of modules holds: raise it with that.
const treeLayout = 2

// maxTree bounds the unpacked modules of one kernel.
const maxTree = 4 << 30

// builtinLists are the files of a kernel's packages that go into its tree beside
// the modules.
var builtinLists = []string{"modules.builtin", "modules.builtin.modinfo", "modules.order"}

// treeDigest tells one kernel's modules from another's. They were built with its
// image, which loads no others, so that names and sizes are enough beside it.
func treeDigest(k kernel, image []byte) (string, error) {
	h := sha256.New()
	sum := sha256.Sum256(image)
	fmt.Fprintf(h, "tree %d\nrelease %s\nimage %x\n", treeLayout, k.release, sum)
	err := filepath.WalkDir(k.modules, func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			fmt.Fprintf(h, "%d %q\n", info.Size(), strings.TrimPrefix(p, k.modules))
		}
		return err
	})
	if err != nil {
		return "", fmt.Errorf("kernel modules: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// writeTree writes all modules of a kernel to name, as an EROFS for the place where
// modprobe looks for them, with the files that modprobe reads. The modules are
// unpacked: not every guest's modprobe could.
func writeTree(name, dir string) (err error) {
	t, err := openModules(dir)
	if err != nil {
		return err
	}
	out, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	b := treeBuilder{w: erofs.NewWriter(out), root: directory(), dir: dir}
	lists := map[string][]byte{}
	for _, list := range builtinLists {
		data, err := files.Read(filepath.Join(dir, list), maxModule)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("kernel modules: %w", err)
		}
		if err := b.file(list, data); err != nil {
			return err
		}
		lists[list] = data
	}
	var modules []modindex.Module
	for _, m := range t.inOrder(dir, string(lists["modules.order"])) {
		if err := b.module(t, &m); err != nil {
			return err
		}
		modules = append(modules, m)
	}
	index, err := modindex.Files(modules, modindex.Builtin{Paths: lists["modules.builtin"], Modinfo: lists["modules.builtin.modinfo"]})
	if err != nil {
		return fmt.Errorf("kernel modules: %w", err)
	}
	for file, data := range index {
		if err := b.file(file, data); err != nil {
			return err
		}
	}
	if _, err := b.w.Close(b.root); err != nil {
		return fmt.Errorf("kernel modules: %w", err)
	}
	return out.Sync()
}

// inOrder are the modules in the order in which the kernel's build lists them,
// those that it does not list last.
func (t *moduleTree) inOrder(dir, order string) (list []modindex.Module) {
	rank := map[string]int{}
	for i, line := range strings.Fields(order) {
		if name, ok := moduleName(line); ok {
			rank[name] = i - maxModule // before all that have none
		}
	}
	for name, file := range t.files {
		rel := strings.TrimPrefix(filepath.ToSlash(strings.TrimPrefix(file, dir)), "/")
		at, _, _ := strings.Cut(path.Base(rel), ".ko")
		list = append(list, modindex.Module{Name: name, Path: path.Join(path.Dir(rel), at+".ko")})
	}
	slices.SortFunc(list, func(a, b modindex.Module) int {
		if by := rank[a.Name] - rank[b.Name]; by != 0 {
			return by
		}
		return strings.Compare(a.Path, b.Path)
	})
	return list
}

// treeBuilder makes the tree of modules.
type treeBuilder struct {
	w    *erofs.Writer
	root *erofs.Inode
	dir  string
	size int64
}

func directory() *erofs.Inode {
	return &erofs.Inode{Mode: 0o40755, Entries: map[string]*erofs.Inode{}}
}

// module puts a module in, and fills in what it says of itself.
func (b *treeBuilder) module(t *moduleTree, m *modindex.Module) error {
	data, _, err := t.load(m.Name)
	if err != nil {
		return err
	}
	if m.Info, err = moduleInfo(data); err != nil {
		return fmt.Errorf("kernel module %s: %w", m.Name, err)
	}
	return b.file(m.Path, data)
}

func (b *treeBuilder) file(name string, data []byte) error {
	if b.size += int64(len(data)); b.size > maxTree {
		return fmt.Errorf("kernel modules: more than %d bytes", int64(maxTree))
	}
	at := b.root
	for _, dir := range strings.Split(path.Dir(name), "/") {
		if dir == "." {
			continue
		}
		if at.Entries[dir] == nil {
			at.Entries[dir] = directory()
		}
		at = at.Entries[dir]
	}
	n := &erofs.Inode{Mode: 0o100644}
	at.Entries[path.Base(name)] = n
	if err := b.w.Data(n, int64(len(data)), bytes.NewReader(data)); err != nil {
		return fmt.Errorf("kernel modules: %s: %w", name, err)
	}
	return nil
}

// moduleInfo is what modprobe wants to know of a module.
func moduleInfo(ko []byte) (info modindex.Info, err error) {
	f, pairs, err := openModule(ko)
	if err != nil {
		return info, err
	}
	if info.Depends, err = parseDepends(pairs); err != nil {
		return info, err
	}
	for _, pair := range bytes.Split(pairs, []byte{0}) {
		switch key, text, _ := strings.Cut(string(pair), "="); key {
		case "alias":
			info.Aliases = append(info.Aliases, text)
		case "softdep":
			info.Softdeps = append(info.Softdeps, text)
		}
	}
	symbols, err := f.Symbols()
	if errors.Is(err, elf.ErrNoSymbols) {
		return info, nil
	}
	if err != nil {
		return info, fmt.Errorf("symbols: %w", err)
	}
	for _, s := range symbols {
		if name, ok := strings.CutPrefix(s.Name, "__ksymtab_"); ok && name != "" {
			info.Symbols = append(info.Symbols, name)
		}
	}
	return info, nil
}
