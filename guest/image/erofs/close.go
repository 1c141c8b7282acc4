package erofs

import (
	"crypto/sha256"
	"fmt"
	"math"
)

// Stats is what became of a tree.
type Stats struct {
	Size   int64 // of the image
	Inodes int
}

// pathError says at which name of a tree something is wrong. The names above
// it are put before.
type pathError struct {
	name string
	err  error
}

func (e pathError) Error() string {
	if inner, ok := e.err.(pathError); ok { //nolint:errorlint // only one that is directly below is a part of the path
		return e.name + "/" + inner.Error()
	}
	return fmt.Sprintf("%s: %v", e.name, e.err)
}

func (e pathError) Unwrap() error { return e.err }

// Close writes the tree below root, and the superblock last: an image that was
// not closed can't be mounted.
func (w *Writer) Close(root *Inode) (Stats, error) {
	if !root.IsDir() {
		return Stats{}, fmt.Errorf("a root of mode %o: %w", root.Mode, ErrUnfit)
	}
	p, err := newPlan(root, w.block())
	if err != nil {
		return Stats{}, err
	}
	if root.nid > math.MaxUint16 || int64(p.next)+int64(p.blocks) >= maxBlocks {
		return Stats{}, fmt.Errorf("%d inodes: %w", len(p.all), ErrUnfit)
	}
	if err := w.flush(); err != nil {
		return Stats{}, err
	}
	w.digest = sha256.New()
	for _, step := range []func() error{
		func() error { return w.spills(p) },
		func() error { return w.inodes(p) },
		w.flush,
	} {
		if err := step(); err != nil {
			return Stats{}, err
		}
	}
	s := super{root: uint16(root.nid), inodes: uint64(len(p.all)), blocks: w.block(), meta: p.next, uuid: w.uuid()}
	s.sec, s.nsec = newest(p.all)
	if _, err := w.out.WriteAt(s.block(), 0); err != nil {
		return Stats{}, err
	}
	return Stats{Size: w.size(), Inodes: len(p.all)}, nil
}

// spills writes what has no room behind its inode.
func (w *Writer) spills(p *plan) error {
	for _, n := range p.spills {
		data := p.content(n)
		if n.layout == layoutInline {
			data = data[:len(data)&^(blockSize-1)]
		}
		if _, err := w.Write(data); err != nil {
			return err
		}
		if err := w.pad(); err != nil {
			return err
		}
	}
	return nil
}

// content is the data of a directory or a link.
func (p *plan) content(n *Inode) []byte {
	if n.IsDir() {
		return dirents(n, p.parents[n])
	}
	return []byte(n.Target)
}

// end is what lies behind an inode and its attributes.
func (p *plan) end(n *Inode) []byte {
	if n.layout != layoutInline || n.IsFile() {
		return n.tail
	}
	data := p.content(n)
	return data[len(data)&^(blockSize-1):]
}

// inodes writes them all, and zeros where no inode lies.
func (w *Writer) inodes(p *plan) error {
	base := w.size()
	for i, n := range p.all {
		gap := base + int64(n.nid)*slotSize - w.size()
		for gap > 0 {
			z := zeros[:min(gap, blockSize)]
			if _, err := w.Write(z); err != nil {
				return err
			}
			gap -= int64(len(z))
		}
		core := n.encode(uint32(i + 1))
		for _, part := range [][]byte{core[:], encodeXattrs(n.Xattrs, n.attrs), p.end(n)} {
			if _, err := w.Write(part); err != nil {
				return err
			}
		}
	}
	return w.pad()
}

// uuid follows from all that was written but the superblock.
func (w *Writer) uuid() (id [16]byte) {
	fmt.Fprintf(w.digest, "%d %08x", w.size(), w.sum)
	copy(id[:], w.digest.Sum(nil))
	id[6] = id[6]&0x0f | 0x80 // version 8: of our own making
	id[8] = id[8]&0x3f | 0x80
	return id
}

// newest is the time of the file system: the newest of its files, so that the
// same tree gives the same bytes.
func newest(all []*Inode) (sec int64, nsec uint32) {
	for _, n := range all {
		if n.Sec > sec || n.Sec == sec && n.Nsec > nsec {
			sec, nsec = n.Sec, n.Nsec
		}
	}
	return sec, nsec
}
