package rootfs

import (
	"fmt"
	"strings"

	"github.com/arcboxlabs/arcbox-engine/guest/image/erofs"
)

// Names by which a layer removes what older layers have, as the image format
// of the Open Container Initiative has them.
const (
	whiteoutPrefix = ".wh."
	opaqueName     = ".wh..wh..opq"
	metaPrefix     = ".wh..wh." // other marks, which say nothing about files
)

// whiteout does what a mark of the layer says, and tells whether it was one.
func (t *tree) whiteout(path []string) (bool, error) {
	if len(path) == 0 {
		return false, nil
	}
	name := path[len(path)-1]
	removed, ok := strings.CutPrefix(name, whiteoutPrefix)
	if !ok {
		return false, nil
	}
	p, err := t.parent(path, false)
	if err != nil {
		return true, err
	}
	switch {
	case p.dir == nil: // nothing is there that could be removed
	case name == opaqueName:
		t.removeOlderIn(p.dir)
	case strings.HasPrefix(name, metaPrefix):
	case removed == "" || removed == "." || removed == "..":
		return true, fmt.Errorf("a whiteout of %q: %w", removed, ErrOutside)
	default:
		t.removeOlder(place{p.dir, removed})
	}
	return true, nil
}

// removeOlder removes a name, but for what the present layer put there.
func (t *tree) removeOlder(p place) {
	n := p.dir.Entries[p.name]
	switch {
	case n == nil:
	case !t.fresh[p]:
		delete(p.dir.Entries, p.name)
	case n.IsDir():
		t.removeOlderIn(n)
	}
}

func (t *tree) removeOlderIn(dir *erofs.Inode) {
	for name := range dir.Entries {
		t.removeOlder(place{dir, name})
	}
}
