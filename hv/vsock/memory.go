package vsock

import (
	"fmt"
	"syscall"
)

const (
	maxRegions    = 8
	maxRegionSize = 1 << 46 // keeps sums far from overflow, in uint64 and in int
)

// regionEntry is one line of the front end's memory table.
type regionEntry struct {
	gpa, size, uva, offset uint64
}

// region is a mapped piece of guest memory. It has two addresses: the guest's
// physical one, which descriptors use, and the front end's, which ring
// addresses use.
type region struct {
	gpa, uva uint64
	mem      []byte // what the guest sees
	mapped   []byte // what munmap wants
}

type memory []region

// mapMemory maps the table. The descriptors stay the caller's. A region must
// lie inside its file: touching a page beyond its end would kill the process.
// (The front end could shorten the file later; QEMU seals it against that, and
// no guest can.)
func mapMemory(table []regionEntry, fds []int) (memory, error) {
	if len(table) > maxRegions || len(table) != len(fds) {
		return nil, fmt.Errorf("memory table of %d regions with %d descriptors: at most %d, one each", len(table), len(fds), maxRegions)
	}
	var m memory
	for i, e := range table {
		r, err := mapRegion(e, fds[i])
		if err != nil {
			m.unmap()
			return nil, fmt.Errorf("memory region %d (gpa %#x, size %#x, offset %#x): %w", i, e.gpa, e.size, e.offset, err)
		}
		m = append(m, r)
	}
	return m, nil
}

func mapRegion(e regionEntry, fd int) (region, error) {
	if e.size == 0 || e.size > maxRegionSize || e.offset > maxRegionSize || e.gpa+e.size < e.gpa || e.uva+e.size < e.uva {
		return region{}, fmt.Errorf("size must be 1 to %#x and no address may wrap", uint64(maxRegionSize))
	}
	var st syscall.Stat_t
	if err := syscall.Fstat(fd, &st); err != nil {
		return region{}, fmt.Errorf("stat: %w", err)
	}
	if st.Size < 0 || uint64(st.Size) < e.offset+e.size {
		return region{}, fmt.Errorf("its file has %d bytes only", st.Size)
	}
	// From offset 0, because the region's own offset need not be page aligned.
	b, err := syscall.Mmap(fd, 0, int(e.offset+e.size), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return region{}, fmt.Errorf("mmap: %w", err)
	}
	return region{gpa: e.gpa, uva: e.uva, mem: b[e.offset:], mapped: b}, nil
}

func (m memory) unmap() {
	for _, r := range m {
		// Fails only for a slice that Mmap did not return.
		_ = syscall.Munmap(r.mapped)
	}
}

// guest returns the memory at a guest address: n bytes, or fewer where a region
// ends before, or none where there is no memory.
func (m memory) guest(gpa, n uint64) []byte {
	for _, r := range m {
		if gpa < r.gpa || gpa-r.gpa >= uint64(len(r.mem)) {
			continue
		}
		b := r.mem[gpa-r.gpa:]
		return b[:min(n, uint64(len(b)))]
	}
	return nil
}

// user returns n bytes at an address of the front end, or nil.
func (m memory) user(uva, n uint64) []byte {
	for _, r := range m {
		if uva < r.uva || uva-r.uva >= uint64(len(r.mem)) {
			continue
		}
		if b := r.mem[uva-r.uva:]; n <= uint64(len(b)) {
			return b[:n]
		}
	}
	return nil
}
