package actorstest

import (
	"context"
	"fmt"
)

// Owner is how an owner's name is written on the wire.
func Owner(name string) string {
	if name == "" {
		return ""
	}
	return fmt.Sprintf("%032x", name)
}

// EndOwner ends the command that machines live for.
func (w *World) EndOwner(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.owners[Owner(name)] = true
	close(w.ended)
	w.ended = make(chan struct{})
}

// Gone implements actors.Owners.
func (w *World) Gone(ctx context.Context, owner string) error {
	for {
		w.mu.Lock()
		gone, ended := w.owners[owner], w.ended
		w.mu.Unlock()
		if gone {
			return w.Gates.Wait(ctx, "owner gone")
		}
		select {
		case <-ended:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (w *World) ownerEnded(owner string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.owners[owner]
}
