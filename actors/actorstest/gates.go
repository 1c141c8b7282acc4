package actorstest

import (
	"context"
	"slices"
	"strings"
	"sync"
)

// Gates hold up what an engine does to the world outside, so that a test
// decides what happens next, and can let the power fail in between.
type Gates struct {
	mu   sync.Mutex
	open bool // nothing is held up (any more)
	held []*Gate
	n    int
}

// Gate is one thing that is held up.
type Gate struct {
	What string // e.g. "web launch", "disk sync"
	n    int
	pass chan struct{}
}

// Wait holds the caller up until the test lets it pass, or ctx is over.
func (g *Gates) Wait(ctx context.Context, what string) error {
	g.mu.Lock()
	if g.open || ctx.Err() != nil {
		g.mu.Unlock()
		return context.Cause(ctx)
	}
	g.n++
	gate := &Gate{what, g.n, make(chan struct{})}
	g.held = append(g.held, gate)
	g.mu.Unlock()
	select {
	case <-gate.pass:
		return nil
	case <-ctx.Done():
		g.drop(gate)
		return context.Cause(ctx)
	}
}

func (g *Gates) drop(gate *Gate) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held = slices.DeleteFunc(g.held, func(o *Gate) bool { return o == gate })
}

// Held is what is held up now, in an order that is the same in every run.
func (g *Gates) Held() []*Gate {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := slices.Clone(g.held)
	slices.SortStableFunc(out, func(a, b *Gate) int {
		// The disk goes first: it holds up whole actors.
		if da, db := strings.HasPrefix(a.What, "disk"), strings.HasPrefix(b.What, "disk"); da != db {
			if da {
				return -1
			}
			return 1
		}
		return strings.Compare(a.What, b.What)
	})
	return out
}

// Pass lets one thing happen.
func (g *Gates) Pass(gate *Gate) {
	g.drop(gate)
	close(gate.pass)
}

// Open lets everything happen from now on; Shut holds things up again.
func (g *Gates) Open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open = true
	for _, gate := range g.held {
		close(gate.pass)
	}
	g.held = nil
}

// Shut ends Open.
func (g *Gates) Shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open = false
}
