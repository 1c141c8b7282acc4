package journal

import (
	"context"
	"crypto/sha256"
	"errors"
	"runtime"
	"sync"

	"github.com/arcboxlabs/arcbox-engine/fsm"
)

// item is one stored value, or a stretch of lost ones, with what takes the most
// time done: its hash and its record. Its err is also why it can't be decoded.
type item struct {
	stored
	read bool // the value is there, whatever it says
	sum  hash
	rec  fsm.Record
	key  machineKey // the record's machine
}

// chunk is a part of the records on its way through the workers.
type chunk struct {
	items []item
	arena []byte // of their values
	done  chan struct{}
}

// Bounds of a chunk; its values may be few and long.
const (
	chunkItems = 256
	chunkBytes = 128 << 10
)

var chunks = sync.Pool{New: func() any {
	return &chunk{items: make([]item, 0, chunkItems), arena: make([]byte, 0, chunkBytes)}
}}

func newChunk() *chunk {
	c := chunks.Get().(*chunk)
	clear(c.items)
	c.items, c.arena, c.done = c.items[:0], c.arena[:0], make(chan struct{})
	return c
}

// add takes a value over, which is the scan's only until the next one.
func (c *chunk) add(s stored) {
	start := len(c.arena)
	c.arena = append(c.arena, s.value...) // where it moves, older values stay where they are
	if s.value != nil {
		s.value = c.arena[start:len(c.arena):len(c.arena)]
	}
	c.items = append(c.items, item{stored: s})
}

func (c *chunk) full() bool { return len(c.items) == chunkItems || len(c.arena) >= chunkBytes }

func (c *chunk) decode() {
	for i := range c.items {
		it := &c.items[i]
		if it.err == nil {
			it.read = true
			it.sum = sha256.Sum256(it.value)
			it.rec, it.key, it.err = decodeKeyed(it.seq, it.value)
		}
	}
	close(c.done)
}

// decoded is scan with all processors at work: f gets everything from from to to
// in order, without a gap, and decoded. An item is f's only until it returns.
func (src source) decoded(ctx context.Context, from, to uint64, f func(*item) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	workers := runtime.GOMAXPROCS(0)
	order, work := make(chan *chunk, 2*workers), make(chan *chunk, 2*workers)
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for c := range work {
				c.decode()
			}
		})
	}
	var scanned error
	all.Go(func() {
		defer close(work)
		defer close(order)
		scanned = src.chunked(ctx, from, to, func(c *chunk) error {
			for _, to := range []chan *chunk{order, work} { // in this order: nothing waits behind what nobody decodes
				select {
				case to <- c:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			return nil
		})
	})
	err := each(ctx, order, f)
	cancel()
	all.Wait()
	if err != nil {
		return err
	}
	return scanned
}

// each hands over the items of the chunks that come.
func each(ctx context.Context, order <-chan *chunk, f func(*item) error) error {
	for c := range order {
		select {
		case <-c.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		for i := range c.items {
			if err := f(&c.items[i]); err != nil {
				return err
			}
		}
		chunks.Put(c)
	}
	return nil
}

// chunked cuts what scan finds into chunks.
func (src source) chunked(ctx context.Context, from, to uint64, hand func(*chunk) error) error {
	c := newChunk()
	err := src.scan(from, to, func(s stored) error {
		if c.add(s); !c.full() {
			return nil
		}
		err := errors.Join(ctx.Err(), hand(c))
		c = newChunk()
		return err
	})
	if err == nil && len(c.items) > 0 {
		err = hand(c)
	}
	return err
}
