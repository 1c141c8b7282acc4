package erofs

import (
	"encoding/binary"
	"hash/crc32"
)

const (
	blockBits = 12
	blockSize = 1 << blockBits

	magic       = 0xe0f5e1e2
	superOffset = 1024

	// What a kernel may ignore: the superblock has a checksum, and the times of
	// inodes are times of modification.
	compatChecksum = 0x1
	compatMtime    = 0x2

	inodeSize  = 64
	slotSize   = 32 // an inode's number counts these
	direntSize = 12

	// nowhere is the block address of an inode without blocks.
	nowhere = 0xffffffff

	// maxBlocks is what a block address can say; the last one is nowhere.
	maxBlocks = nowhere

	// MaxName and MaxTarget are Linux's own limits.
	MaxName   = 255
	MaxTarget = 4095
)

// How an inode's data lies: all of it in blocks, or its end behind the inode.
const (
	layoutPlain  = 0
	layoutInline = 2
)

// The type bits of a mode.
const (
	typeMask  = 0o170000
	typeFIFO  = 0o010000
	typeChar  = 0o020000
	typeDir   = 0o040000
	typeBlock = 0o060000
	typeFile  = 0o100000
	typeLink  = 0o120000
	typeSock  = 0o140000
)

// fileTypes are the types as directories name them.
var fileTypes = map[uint32]byte{
	typeFile: 1, typeDir: 2, typeChar: 3, typeBlock: 4, typeFIFO: 5, typeSock: 6, typeLink: 7,
}

var (
	le         = binary.LittleEndian
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// super is what varies in a superblock.
type super struct {
	root   uint16
	inodes uint64
	sec    int64
	nsec   uint32
	blocks uint32
	meta   uint32
	uuid   [16]byte
}

// block is block 0 with the superblock and its checksum.
func (s super) block() []byte {
	b := make([]byte, blockSize)
	p := b[superOffset:]
	le.PutUint32(p[0:], magic)
	le.PutUint32(p[8:], compatChecksum|compatMtime)
	p[12] = blockBits
	le.PutUint16(p[14:], s.root)
	le.PutUint64(p[16:], s.inodes)
	le.PutUint64(p[24:], uint64(s.sec))
	le.PutUint32(p[32:], s.nsec)
	le.PutUint32(p[36:], s.blocks)
	le.PutUint32(p[40:], s.meta)
	copy(p[48:64], s.uuid[:])
	// The kernel's CRC has no final inversion. The field itself counts as zero.
	le.PutUint32(p[4:], ^crc32.Checksum(p, castagnoli))
	return b
}

// encode is the inode as it lies on disk, without what follows it.
func (n *Inode) encode(number uint32) [inodeSize]byte {
	var b [inodeSize]byte
	const extended = 1
	le.PutUint16(b[0:], extended|n.layout<<1)
	le.PutUint16(b[2:], xattrUnits(n.attrs))
	le.PutUint16(b[4:], uint16(n.Mode))
	le.PutUint64(b[8:], uint64(n.size))
	switch n.Mode & typeMask {
	case typeChar, typeBlock:
		le.PutUint32(b[16:], n.Rdev)
	case typeFile, typeDir, typeLink:
		le.PutUint32(b[16:], n.start)
	}
	le.PutUint32(b[20:], number)
	le.PutUint32(b[24:], n.UID)
	le.PutUint32(b[28:], n.GID)
	le.PutUint64(b[32:], uint64(n.Sec))
	le.PutUint32(b[40:], n.Nsec)
	le.PutUint32(b[44:], n.nlink)
	return b
}
