package main

import (
	"context"
	"fmt"
	"io"

	"github.com/arcboxlabs/arcbox-engine/guest/tree"
)

// copyProgress draws how far a copy has come.
func (a *app) copyProgress(ctx context.Context, stats *tree.Stats) func() {
	began := a.now()
	return a.drawn(ctx, func(_ context.Context, step int) string {
		return spinner[step%len(spinner)] + " " + copyText(stats.Count(), a.now().Sub(began).Seconds())
	})
}

// copyText is a copy in one line. The total is that of the files that were
// begun: what comes behind them is not known.
func copyText(c tree.Count, seconds float64) string {
	text := "copying  " + sizeText(c.Bytes)
	if c.Total > c.Bytes {
		text += fmt.Sprintf(" of %s (%.0f%%)", sizeText(c.Total), 100*float64(c.Bytes)/float64(c.Total))
	}
	if c.Files > 1 {
		text += fmt.Sprintf("  %d files", c.Files)
	}
	if seconds > 0 {
		text += fmt.Sprintf("  %s/s", sizeText(int64(float64(c.Bytes)/seconds)))
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
