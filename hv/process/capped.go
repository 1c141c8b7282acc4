package process

import (
	"io"
	"sync"
)

// capped passes on the first bytes and drops what comes after them.
type capped struct {
	mu   sync.Mutex
	w    io.Writer
	left int
}

// Capped bounds what is written to w. A Write never fails.
func Capped(w io.Writer, limit int) io.Writer { return &capped{w: w, left: limit} }

// Write never fails.
func (c *capped) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left <= 0 {
		return len(p), nil
	}
	n := min(len(p), c.left)
	_, _ = c.w.Write(p[:n])
	if c.left -= n; c.left == 0 {
		_, _ = io.WriteString(c.w, "\n(what follows was dropped)\n")
	}
	return len(p), nil
}
