package erofs

import (
	"cmp"
	"slices"
)

// plan says where every inode goes.
type plan struct {
	all    []*Inode // in the order of their numbers, once sorted
	spills []*Inode // those with blocks for what did not fit behind them
	open   []room   // blocks of inodes that have room left
	blocks int      // of inodes

	parents map[*Inode]*Inode // of directories
	next    uint32            // the block that the next spill gets
}

// room is a block of inodes that is used up to a point.
type room struct{ block, used int }

// maxOpen bounds how far back an inode may go to fill a gap, so that the
// inodes of a directory stay near each other.
const maxOpen = 16

// newPlan walks the tree. Spilled directories and links get blocks from next on.
func newPlan(root *Inode, next uint32) (*plan, error) {
	p := &plan{next: next, blocks: 1, parents: map[*Inode]*Inode{root: root}}
	// Number 0 is left free: tools take an entry with that number for none.
	p.open = []room{{block: 0, used: inodeSize}}
	root.nlink = 2
	if err := p.add(root); err != nil {
		return nil, err
	}
	if err := p.walk(root); err != nil {
		return nil, err
	}
	slices.SortFunc(p.all, func(a, b *Inode) int { return cmp.Compare(a.nid, b.nid) })
	return p, nil
}

// walk adds what is in a directory, then what is in its directories.
func (p *plan) walk(dir *Inode) error {
	for _, name := range dir.names {
		n := dir.child(name)
		if n == nil {
			continue
		}
		if n.nlink++; n.nlink > 1 {
			continue // one more name
		}
		if n.IsDir() {
			n.nlink++
			dir.nlink++
			p.parents[n] = dir
		}
		if err := p.add(n); err != nil {
			return pathError{name, err}
		}
	}
	for _, name := range dir.names {
		if n := dir.child(name); n != nil && n.IsDir() {
			if err := p.walk(n); err != nil {
				return pathError{name, err}
			}
		}
	}
	return nil
}

// child is what a name of a directory stands for, nil for the two dots.
func (n *Inode) child(name string) *Inode {
	if name == "." || name == ".." {
		return nil
	}
	return n.Entries[name]
}

// add plans one inode: what of its data lies behind it, and where it lies.
func (p *plan) add(n *Inode) error {
	if err := n.check(); err != nil {
		return err
	}
	n.layout = layoutPlain
	room := blockSize - inodeSize - n.attrs
	tail := len(n.tail)
	switch {
	case n.IsDir():
		if err := n.sortNames(); err != nil {
			return err
		}
		n.size = direntBytes(n.names)
		tail = p.spill(n, room)
	case n.IsLink():
		n.size = int64(len(n.Target))
		tail = p.spill(n, room)
	}
	if tail > 0 {
		n.layout = layoutInline
	}
	n.nid = p.place(align(inodeSize+n.attrs+tail, slotSize))
	p.all = append(p.all, n)
	return nil
}

// spill decides how much of a directory or a link lies behind its inode, and
// gives the rest blocks.
func (p *plan) spill(n *Inode, room int) (tail int) {
	tail = int(n.size & (blockSize - 1))
	if tail > room {
		tail = 0
	}
	n.start = nowhere
	if blocks := align(n.size-int64(tail), blockSize) >> blockBits; blocks > 0 {
		n.start = p.next
		p.next += uint32(blocks)
		p.spills = append(p.spills, n)
	}
	return tail
}

// place finds room for an inode: no inode with a tail may cross a block. It
// goes where it leaves the smallest gap.
func (p *plan) place(size int) uint64 {
	best := -1
	for i, r := range p.open {
		if blockSize-r.used >= size && (best < 0 || r.used > p.open[best].used) {
			best = i
		}
	}
	if best < 0 {
		best = p.grow(size)
	}
	r := &p.open[best]
	nid := uint64(r.block*blockSize+r.used) / slotSize
	r.used += size
	if r.used >= blockSize {
		p.open = slices.Delete(p.open, best, best+1)
	}
	return nid
}

// grow opens a new block, or as many as one inode with much behind it needs.
func (p *plan) grow(size int) int {
	if len(p.open) == maxOpen {
		p.open = slices.Delete(p.open, 0, 1)
	}
	p.open = append(p.open, room{block: p.blocks})
	p.blocks += align(size, blockSize) >> blockBits
	return len(p.open) - 1
}
