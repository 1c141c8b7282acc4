package main

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/arcboxlabs/arcbox-engine/guest/tree"
)

// copyProgress draws how far a copy has come.
func (a *app) copyProgress(ctx context.Context, stats *tree.Stats) func() {
	return a.carrying(ctx, func() carried { return copied(stats.Count()) })
}

// copied is a copy. The total is that of the files that were begun: what comes
// behind them is not known.
func copied(c tree.Count) carried {
	now := carried{doing: "copying", done: c.Bytes, files: c.Files}
	if c.Total > c.Bytes {
		now.total = c.Total
	}
	return now
}

// moving draws how far a machine's way is. total 0 = nobody knows.
func (a *app) moving(ctx context.Context, doing string, done *atomic.Int64, total int64) func() {
	return a.carrying(ctx, func() carried { return carried{doing: doing, done: done.Load(), total: total} })
}

// carrying draws, on a terminal, how far something is.
func (a *app) carrying(ctx context.Context, now func() carried) func() {
	began := a.now()
	return a.drawn(ctx, func(_ context.Context, step int) string {
		return spinner[step%len(spinner)] + " " + now().text(a.now().Sub(began).Seconds())
	})
}

// carried is how far something is.
type carried struct {
	doing       string
	done, total int64 // bytes; total 0 = nobody knows
	files       int64 // said where they are more than one
}

func (c carried) text(seconds float64) string {
	text := c.doing + "  " + sizeText(c.done)
	if c.total > 0 {
		text += fmt.Sprintf(" of %s (%.0f%%)", sizeText(c.total), 100*float64(c.done)/float64(c.total))
	}
	if c.files > 1 {
		text += fmt.Sprintf("  %d files", c.files)
	}
	if seconds > 0 {
		text += fmt.Sprintf("  %s/s", sizeText(int64(float64(c.done)/seconds)))
	}
	return text
}

// sizeText is a size to glance at: 1023 B, 1.5 MiB.
func sizeText(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	f, unit := float64(n), 0
	for f >= 1000 && unit < len(units)-1 {
		f, unit = f/1024, unit+1
	}
	if unit == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", f, units[unit])
}

// readerUntil reads from r until ctx is over. A Read of r that is under way
// then is left behind.
func readerUntil(ctx context.Context, r io.Reader) (io.Reader, func()) {
	out, in := io.Pipe()
	go func() {
		_, err := io.Copy(in, r)
		_ = in.CloseWithError(err) // nil = the end; it never fails
	}()
	stop := context.AfterFunc(ctx, func() { _ = out.CloseWithError(context.Cause(ctx)) })
	return out, func() {
		stop()
		_ = out.Close()
	}
}
