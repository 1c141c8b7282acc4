package vsock

const (
	blockLen   = 16 << 10
	idleBlocks = 64 // kept for the next data; the rest is the collector's
)

type block struct {
	next *block
	data [blockLen]byte
}

// blocks are idle blocks, shared by a device's buffers.
type blocks struct {
	free *block
	n    int
}

func (p *blocks) get() *block {
	b := p.free
	if b == nil {
		return new(block)
	}
	p.free, b.next = b.next, nil
	p.n--
	return b
}

func (p *blocks) put(b *block) {
	if p.n >= idleBlocks {
		return
	}
	b.next, p.free = p.free, b
	p.n++
}

// buffer is a queue of bytes. An empty one holds no block.
type buffer struct {
	first, last *block
	start, end  int // start in first, end in last
	n           int
}

func (b *buffer) write(p []byte, pool *blocks) {
	for len(p) > 0 {
		if b.last == nil || b.end == blockLen {
			nb := pool.get()
			if b.last == nil {
				b.first, b.start = nb, 0
			} else {
				b.last.next = nb
			}
			b.last, b.end = nb, 0
		}
		n := copy(b.last.data[b.end:], p)
		b.end += n
		b.n += n
		p = p[n:]
	}
}

func (b *buffer) read(p []byte, pool *blocks) int {
	total := 0
	for len(p) > 0 && b.n > 0 {
		stop := blockLen
		if b.first == b.last {
			stop = b.end
		}
		n := copy(p, b.first.data[b.start:stop])
		b.start += n
		b.n -= n
		total += n
		p = p[n:]
		if b.start == stop {
			b.shift(pool)
		}
	}
	return total
}

// shift gives back the first block.
func (b *buffer) shift(pool *blocks) {
	gone := b.first
	b.first, b.start = gone.next, 0
	if b.first == nil {
		b.last, b.end = nil, 0
	}
	pool.put(gone)
}

func (b *buffer) clear(pool *blocks) {
	for b.first != nil {
		b.shift(pool)
	}
	b.n = 0
}
