package agent

import (
	"sync"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// stdinQueue holds the client's stdin until the program reads it.
type stdinQueue struct {
	mu       sync.Mutex
	changed  sync.Cond
	buf      []byte
	spare    []byte // what was passed on, to be filled again
	out      int    // bytes that were taken and not passed on yet
	finished bool   // nothing more comes
	closed   bool   // nothing more is wanted
}

func newStdinQueue() *stdinQueue {
	q := &stdinQueue{}
	q.changed.L = &q.mu
	return q
}

// put reports whether the client stayed within the window.
func (q *stdinQueue) put(b []byte) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.buf)+q.out+len(b) > wire.StdinWindow {
		return false
	}
	if !q.finished {
		q.buf = append(q.buf, b...)
	}
	q.changed.Signal()
	return true
}

// take waits for bytes; nil is the end.
func (q *stdinQueue) take() []byte {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.buf) == 0 && !q.finished && !q.closed {
		q.changed.Wait()
	}
	if q.closed || len(q.buf) == 0 {
		return nil
	}
	b := q.buf
	q.buf, q.spare, q.out = q.spare[:0], nil, len(b)
	return b
}

// passed says that the program has what was taken: before the client is told.
func (q *stdinQueue) passed(b []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.out, q.spare = 0, b
}

func (q *stdinQueue) finish() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.finished = true
	q.changed.Signal()
}

func (q *stdinQueue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.changed.Signal()
}
