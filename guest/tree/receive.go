package tree

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// receiver is one Receive under way.
type receiver struct {
	next  Source
	to    Target
	stats *Stats
}

// Receive writes what a source yields. It takes the source's end only behind
// the last part.
func Receive(to Target, next Source, stats *Stats) error {
	r := &receiver{next: next, to: to, stats: stats}
	first, err := r.part()
	if err != nil {
		return err
	}
	e := first.GetEntry()
	kind := e.GetKind()
	if len(e.GetName()) > 0 || kind != wire.CopyEntry_KIND_FILE && kind != wire.CopyEntry_KIND_DIRECTORY {
		return brokenParts("the first is %v %.64q, want a file or a directory without a name", kind, e.GetName())
	}
	dir, name, err := to.place(kind == wire.CopyEntry_KIND_DIRECTORY)
	if err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	parent, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	defer func() { _ = parent.Close() }() // it holds nothing back
	if kind == wire.CopyEntry_KIND_FILE {
		err = r.file(parent, name, e)
	} else {
		err = r.tree(parent, name, e)
	}
	if err != nil {
		return err
	}
	if _, err := next(); !errors.Is(err, io.EOF) {
		return errors.Join(brokenParts("something is behind the end"), err)
	}
	return nil
}

// part takes the next part, which must be there.
func (r *receiver) part() (*wire.CopyPart, error) {
	p, err := r.next()
	if errors.Is(err, io.EOF) {
		return nil, brokenParts("they end too early")
	}
	return p, err
}

// level is a directory that is being written.
type level struct {
	at    string // path in the root
	entry *wire.CopyEntry
	made  bool // it was not there before
}

// tree writes a directory with what is in it. From here on the root is the
// copy itself, so that nothing in it leads out.
func (r *receiver) tree(parent *os.Root, name string, e *wire.CopyEntry) error {
	made, err := r.mkdir(parent, name)
	if err != nil {
		return err
	}
	root, err := parent.OpenRoot(name)
	if err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	defer func() { _ = root.Close() }() // it holds nothing back
	stack := []level{{at: ".", entry: e, made: made}}
	for len(stack) > 0 {
		top := stack[len(stack)-1]
		p, err := r.part()
		if err != nil {
			return err
		}
		if p.GetEnd() != nil {
			if err := r.leave(root, top); err != nil {
				return err
			}
			stack = stack[:len(stack)-1]
			continue
		}
		down, err := r.child(root, top.at, p.GetEntry())
		if err != nil {
			return err
		}
		if down == nil {
			continue
		}
		if stack = append(stack, *down); len(stack) > maxDepth+1 {
			return brokenParts("%d directories in each other, at most %d", len(stack), maxDepth)
		}
	}
	return nil
}

// child writes an entry of a directory, and gives it where it is one itself.
func (r *receiver) child(root *os.Root, dir string, e *wire.CopyEntry) (*level, error) {
	name := string(e.GetName())
	if !goodName(name) {
		return nil, brokenParts("name %.64q: want one component of a path", name)
	}
	at := path.Join(dir, name)
	switch e.GetKind() {
	case wire.CopyEntry_KIND_FILE:
		return nil, r.file(root, at, e)
	case wire.CopyEntry_KIND_DIRECTORY:
		made, err := r.mkdir(root, at)
		return &level{at: at, entry: e, made: made}, err
	case wire.CopyEntry_KIND_LINK:
		return nil, r.link(root, at, string(e.GetTarget()))
	case wire.CopyEntry_KIND_OTHER:
		r.stats.left(at, "neither a file nor a directory")
		return nil, nil
	}
	return nil, brokenParts("%.64q is of the kind %v", name, e.GetKind())
}

// mkdir makes a directory, or takes the one that is there. A link to one is
// in the way: it was not there to be written through.
func (r *receiver) mkdir(root *os.Root, at string) (made bool, err error) {
	if at == "." {
		return false, nil
	}
	err = root.Mkdir(at, 0o700)
	if err == nil {
		return true, r.own(root, at)
	}
	if !errors.Is(err, fs.ErrExist) {
		return false, fmt.Errorf("copy: %w", err)
	}
	info, err := root.Lstat(at)
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is in the way, and not a directory", filepath.Join(root.Name(), at))
	}
	if err != nil {
		return false, fmt.Errorf("copy: %w", err)
	}
	return false, nil
}

// leave gives a directory that was made its mode and time, now that all is in
// it.
func (r *receiver) leave(root *os.Root, l level) error {
	if !l.made {
		return nil
	}
	if err := root.Chmod(l.at, fs.FileMode(l.entry.GetMode())&fs.ModePerm); err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	return setTime(root, l.at, l.entry)
}

func setTime(root *os.Root, at string, e *wire.CopyEntry) error {
	if e.GetMtimeNanos() == 0 {
		return nil
	}
	when := time.Unix(0, e.GetMtimeNanos())
	if err := root.Chtimes(at, when, when); err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	return nil
}

func (r *receiver) own(root *os.Root, at string) error {
	if r.to.Owner == nil {
		return nil
	}
	if err := root.Lchown(at, r.to.Owner.UID, r.to.Owner.GID); err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	return nil
}

// link makes a symbolic link, in the place of a file or link that is there.
func (r *receiver) link(root *os.Root, at, target string) error {
	if target == "" || len(target) > maxTarget || strings.ContainsRune(target, 0) {
		return brokenParts("link %.64q leads to %d bytes", at, len(target))
	}
	if !r.to.Links && leadsOut(at, target) {
		r.stats.left(at, fmt.Sprintf("a link to %.200q, out of the copy", target))
		return nil
	}
	err := root.Symlink(target, at)
	if errors.Is(err, fs.ErrExist) {
		if _, err = replaced(root, at); err == nil {
			err = errors.Join(root.Remove(at), root.Symlink(target, at))
		}
	}
	if err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	return r.own(root, at)
}

// replaced is the file that stands in a place; nil = none, or a link. A
// directory is in the way: what is in it was not asked about.
func replaced(root *os.Root, at string) (fs.FileInfo, error) {
	info, err := root.Lstat(at)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, fmt.Errorf("%s is in the way, and a directory", filepath.Join(root.Name(), at))
	case !info.Mode().IsRegular():
		return nil, nil
	}
	return info, nil
}

// leadsOut tells whether a link may lead out of a tree, by its place there.
// Steps up are counted only at the beginning: behind a name they begin
// wherever that name's own link leads.
func leadsOut(at, target string) bool {
	if strings.HasPrefix(target, "/") {
		return true
	}
	up := strings.Count(at, "/")
	named := false
	for step := range strings.SplitSeq(target, "/") {
		switch step {
		case "", ".":
		case "..":
			if up--; named || up < 0 {
				return true
			}
		default:
			named = true
		}
	}
	return false
}
