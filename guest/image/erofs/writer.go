package erofs

import (
	"fmt"
	"hash"
	"hash/crc32"
	"io"
)

const (
	bufferSize = 1 << 20

	// maxTail is the longest end of a file that goes behind its inode. A longer
	// one wastes less by having a block of its own than by leaving gaps.
	maxTail = 3 << 10

	// tailBudget bounds what tails may take of the memory.
	tailBudget = 64 << 20
)

// Writer writes one file system. Its methods are for one goroutine.
type Writer struct {
	out    io.WriterAt
	buf    []byte
	at     int64 // where buf goes
	tails  int
	sum    uint32    // of all that went out
	digest hash.Hash // likewise, since the last data
}

// NewWriter begins a file system, at the first byte of an empty out.
func NewWriter(out io.WriterAt) *Writer {
	w := &Writer{out: out, buf: make([]byte, blockSize, bufferSize)}
	return w
}

// Data gives a regular file its data: size bytes of r. It is called once for a
// file, whose attributes are set already.
func (w *Writer) Data(n *Inode, size int64, r io.Reader) error {
	if !n.IsFile() || size < 0 {
		return fmt.Errorf("data of %d bytes for mode %o: %w", size, n.Mode, ErrUnfit)
	}
	if err := n.check(); err != nil {
		return err
	}
	if size > (maxBlocks-1)<<blockBits-w.size() {
		return fmt.Errorf("a file of %d bytes: %w", size, ErrUnfit)
	}
	n.size, n.start = size, w.block()
	whole, tail := size&^(blockSize-1), int(size&(blockSize-1))
	inline := tail > 0 && tail <= maxTail && w.tails+tail <= tailBudget && inodeSize+n.attrs+tail <= blockSize
	if !inline {
		whole = size
	}
	if whole == 0 {
		n.start = nowhere
	}
	if err := w.copy(r, whole); err != nil {
		return err
	}
	if !inline {
		return w.pad()
	}
	n.tail = make([]byte, tail)
	w.tails += tail
	return read(r, n.tail)
}

// size is how much has been written, and block the number of the block that
// comes next where that is a whole number of them.
func (w *Writer) size() int64   { return w.at + int64(len(w.buf)) }
func (w *Writer) block() uint32 { return uint32(w.size() >> blockBits) }

// copy takes size bytes from r without a buffer between.
func (w *Writer) copy(r io.Reader, size int64) error {
	for size > 0 {
		if len(w.buf) == cap(w.buf) {
			if err := w.flush(); err != nil {
				return err
			}
		}
		from := len(w.buf)
		to := int(min(int64(cap(w.buf)), int64(from)+size))
		w.buf = w.buf[:to]
		if err := read(r, w.buf[from:]); err != nil {
			return err
		}
		size -= int64(to - from)
	}
	return nil
}

func read(r io.Reader, p []byte) error {
	_, err := io.ReadFull(r, p)
	if err == io.EOF { // to a caller it means that data is missing
		return io.ErrUnexpectedEOF
	}
	return err
}

// Write takes bytes that are no file's.
func (w *Writer) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		if len(w.buf) == cap(w.buf) {
			if err := w.flush(); err != nil {
				return 0, err
			}
		}
		n := copy(w.buf[len(w.buf):cap(w.buf)], rest)
		w.buf = w.buf[:len(w.buf)+n]
		rest = rest[n:]
	}
	return len(p), nil
}

var zeros [blockSize]byte

// pad fills the block up.
func (w *Writer) pad() error {
	_, err := w.Write(zeros[:align(w.size(), blockSize)-w.size()])
	return err
}

// flush writes out what the buffer holds. Block 0 is among the first of it and
// all zeros until Close writes it again.
func (w *Writer) flush() error {
	if _, err := w.out.WriteAt(w.buf, w.at); err != nil {
		return err
	}
	w.sum = crc32.Update(w.sum, castagnoli, w.buf)
	if w.digest != nil {
		w.digest.Write(w.buf)
	}
	w.at += int64(len(w.buf))
	w.buf = w.buf[:0]
	return nil
}
