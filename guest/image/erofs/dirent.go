package erofs

// A directory's data is a sequence of blocks, each of them complete in itself:
// a header for each entry, then the names, in the order of the names.

// direntBlocks cuts names into runs that fill a block each, and calls each with
// one of them and the bytes that it takes.
func direntBlocks(names []string, each func(names []string, used int)) {
	from, used := 0, 0
	for i, name := range names {
		need := direntSize + len(name)
		if used+need > blockSize {
			each(names[from:i], used)
			from, used = i, 0
		}
		used += need
	}
	each(names[from:], used)
}

// direntBytes is the size of a directory's data: the last block is not filled.
func direntBytes(names []string) (size int64) {
	var last int
	direntBlocks(names, func(_ []string, used int) {
		size += blockSize
		last = used
	})
	return size - blockSize + int64(last)
}

// dirents is a directory's data. All inodes have their numbers by now.
func dirents(dir, parent *Inode) []byte {
	b := make([]byte, 0, dir.size)
	direntBlocks(dir.names, func(names []string, _ int) {
		b = append(b, make([]byte, align(len(b), blockSize)-len(b))...)
		at := len(names) * direntSize
		for _, name := range names {
			n := dir.child(name)
			switch name {
			case ".":
				n = dir
			case "..":
				n = parent
			}
			b = le.AppendUint64(b, n.nid)
			b = le.AppendUint16(b, uint16(at))
			b = append(b, fileTypes[n.Mode&typeMask], 0)
			at += len(name)
		}
		for _, name := range names {
			b = append(b, name...)
		}
	})
	return b
}
