package main

import (
	"context"
	"io"
	"os"
	"runtime/debug"
)

// gcPercent lets the heap of a short command grow to some 20 MiB before the
// first collection: a list of thousands of machines then runs without one.
const gcPercent = 400

func main() {
	debug.SetGCPercent(gcPercent)
	os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is the whole command; it returns the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	return newApp(stdin, stdout, stderr).execute(ctx, args)
}
