package rootfs

import (
	"fmt"
	"strings"

	"github.com/arcboxlabs/arcbox-engine/guest/image/erofs"
)

const (
	maxPath  = 4096
	maxHops  = 40 // symbolic links in one name, as in Linux
	dirMode  = 0o040000
	linkMode = 0o120000
	typeMask = 0o170000
)

// place is a name in a directory.
type place struct {
	dir  *erofs.Inode
	name string
}

// tree is a root file system in the making. Every name is resolved in it.
type tree struct {
	root *erofs.Inode
	// fresh are the names that the present layer has said something of: its
	// whiteouts are about older ones only. nil where there are no whiteouts.
	fresh map[place]bool
	// releases are the contents of what may be the os-release.
	releases map[*erofs.Inode][]byte
}

func newTree() *tree {
	return &tree{root: newDir(), releases: map[*erofs.Inode][]byte{}}
}

func newDir() *erofs.Inode {
	return &erofs.Inode{Mode: dirMode | 0o755, Entries: map[string]*erofs.Inode{}}
}

// parts cuts a name of a tar into its parts. None are left of the root's name.
func parts(name string) ([]string, error) {
	if len(name) > maxPath {
		return nil, fmt.Errorf("a name of %d bytes, at most %d are allowed: %w", len(name), maxPath, ErrLimit)
	}
	if strings.ContainsRune(name, 0) {
		return nil, fmt.Errorf("a zero byte in a name: %w", ErrDamaged)
	}
	var found []string
	for part := range strings.SplitSeq(name, "/") {
		switch {
		case part == "..":
			return nil, ErrOutside
		case len(part) > erofs.MaxName:
			return nil, fmt.Errorf("a part of a name has %d bytes, at most %d are allowed: %w", len(part), erofs.MaxName, ErrLimit)
		case part != "" && part != ".":
			found = append(found, part)
		}
	}
	return found, nil
}

// parent finds the place of a name, and makes the directories above it where
// make says so; without, a place of which the directory is missing has none.
func (t *tree) parent(path []string, make bool) (place, error) {
	dirs, last := path[:len(path)-1], path[len(path)-1]
	trail := []*erofs.Inode{t.root} // from the root to where we are
	hops := 0
	for len(dirs) > 0 {
		at, part := trail[len(trail)-1], dirs[0]
		dirs = dirs[1:]
		if part == ".." { // of a link's target; nothing is above the root
			trail = trail[:max(1, len(trail)-1)]
			continue
		}
		n := at.Entries[part]
		if n == nil {
			if !make {
				return place{nil, last}, nil
			}
			n = newDir()
			at.Entries[part] = n
		}
		switch {
		case n.IsLink():
			if hops++; hops > maxHops {
				return place{}, fmt.Errorf("more than %d symbolic links in its path: %w", maxHops, ErrLink)
			}
			var target []string
			target, trail = follow(n.Target, trail)
			dirs = append(target, dirs...)
			continue
		case !n.IsDir():
			return place{}, fmt.Errorf("%q above it is no directory: %w", part, ErrLink)
		}
		if make {
			t.touch(place{at, part})
		}
		trail = append(trail, n)
	}
	return place{trail[len(trail)-1], last}, nil
}

// follow is where a link leads: parts that are still to go, and from where.
func follow(target string, trail []*erofs.Inode) ([]string, []*erofs.Inode) {
	if strings.HasPrefix(target, "/") {
		trail = trail[:1]
	}
	var found []string
	for part := range strings.SplitSeq(target, "/") {
		if part != "" && part != "." {
			found = append(found, part)
		}
	}
	return found, trail
}

// put sets a name. Where a directory is there and comes again, its entries stay.
func (t *tree) put(path []string, n *erofs.Inode) error {
	if len(path) == 0 {
		if !n.IsDir() {
			return fmt.Errorf("the root is no directory: %w", ErrDamaged)
		}
		n.Entries = t.root.Entries
		*t.root = *n
		return nil
	}
	p, err := t.parent(path, true)
	if err != nil {
		return err
	}
	if old := p.dir.Entries[p.name]; old != nil && old.IsDir() && n.IsDir() {
		n.Entries = old.Entries
		*old = *n // who holds the directory holds it still
	} else {
		p.dir.Entries[p.name] = n
	}
	t.touch(p)
	return nil
}

// link gives the file at target one more name.
func (t *tree) link(path []string, target string) error {
	to, err := parts(target)
	if err != nil {
		return fmt.Errorf("a hard link to %.300q: %w", target, err)
	}
	var n *erofs.Inode
	if len(to) > 0 {
		p, err := t.parent(to, false)
		if err != nil {
			return fmt.Errorf("a hard link to %.300q: %w", target, err)
		}
		if p.dir != nil {
			n = p.dir.Entries[p.name]
		}
	}
	switch {
	case n == nil && len(to) > 0:
		return fmt.Errorf("a hard link to %.300q, which is not in the archive: %w", target, ErrLink)
	case len(to) == 0 || n.IsDir():
		return fmt.Errorf("a hard link to the directory %.300q: %w", target, ErrLink)
	case len(path) == 0:
		return fmt.Errorf("the root is no directory: %w", ErrDamaged)
	}
	return t.put(path, n)
}

func (t *tree) touch(p place) {
	if t.fresh != nil {
		t.fresh[p] = true
	}
}
