package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"

	"github.com/spf13/cobra"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

// maxBacklog bounds what is read to find the last lines; the engine keeps far
// less of a log.
const maxBacklog = 64 << 20

func newLogs(a *app) *cobra.Command {
	var console, agent, setUp, follow bool
	var tail int
	cmd := &cobra.Command{
		Use:   "logs [NAME]",
		Short: "Print what a machine printed",
		Long: "Print the console (or, with --agent, the agent's log, with\n" +
			"--provision the output of its set-up) of a machine (the default one where none is named).\n" +
			"It is there also when the machine has stopped. On a terminal, sequences that\n" +
			"would drive it are left out.",
		Example:           "  arcbox logs web --tail 50\n  arcbox logs web -f",
		Args:              named(0, 1),
		ValidArgsFunction: a.completeNames(1),
	}
	f := cmd.Flags()
	f.BoolVar(&console, "console", false, "the console (the default)")
	f.BoolVar(&agent, "agent", false, "the agent's log")
	f.BoolVar(&setUp, "provision", false, "what its set-up printed, the last time")
	f.BoolVarP(&follow, "follow", "f", false, "go on until Ctrl-C")
	f.IntVar(&tail, "tail", 0, "the last so many lines only (default: all that is kept)")
	oneOf(cmd, "console", "agent", "provision")
	cmd.RunE = a.verb(func(ctx context.Context, cmd *cobra.Command, args []string) error {
		if cmd.Flags().Changed("tail") && tail < 1 {
			return usage(cmd, badInput("tail", "--tail %d: at least 1 line", tail))
		}
		name, err := a.nameOf(args)
		if err != nil {
			return err
		}
		e, err := a.engine(ctx)
		if err != nil {
			return err
		}
		defer e.Close()
		which := "console"
		switch {
		case agent:
			which = "agent"
		case setUp:
			which = "provision"
		}
		return a.printLog(ctx, e, &wire.OpenLog{Name: name, Which: which, Follow: follow}, tail)
	})
	return cmd
}

// printLog prints a log, or its last lines. The engine counts in bytes: the
// last lines are found in a first reading, and followed in a second.
func (a *app) printLog(ctx context.Context, e engine, open *wire.OpenLog, lines int) error {
	out := a.guestWriter(a.stdout)
	if lines == 0 {
		return readLog(ctx, e, open, func(c io.Reader) error {
			_, err := io.Copy(out, c)
			return err
		})
	}
	var kept []byte
	first := &wire.OpenLog{Name: open.GetName(), Which: open.GetWhich()}
	if err := readLog(ctx, e, first, func(c io.Reader) (err error) {
		kept, err = io.ReadAll(io.LimitReader(c, maxBacklog))
		return err
	}); err != nil {
		return err
	}
	kept = lastOf(kept, lines)
	if !open.GetFollow() {
		_, err := out.Write(kept)
		return err
	}
	open.Tail = max(1, int64(len(kept)))
	return a.printLog(ctx, e, open, 0)
}

// readLog opens a log and reads it to its end, or until ctx is over.
func readLog(ctx context.Context, e engine, open *wire.OpenLog, read func(io.Reader) error) error {
	open.Request = request()
	t, err := ask[*wire.Ticket](ctx, e, open)
	if err != nil {
		return err
	}
	c, err := e.Open(ctx, t)
	if err != nil {
		return fmt.Errorf("open the log: %w", err)
	}
	defer closeWith(ctx, c)()
	if err := read(c); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("read the log: %w", err)
	}
	return nil
}

// closeWith closes a connection when ctx is over, so that reading ends, or
// when the function that it returns is called.
func closeWith(ctx context.Context, c net.Conn) func() {
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	return func() {
		stop()
		_ = c.Close() // only read from
	}
}

// lastOf is the last n lines.
func lastOf(text []byte, n int) []byte {
	end := len(bytes.TrimSuffix(text, []byte("\n")))
	for ; n > 0; n-- {
		if end = bytes.LastIndexByte(text[:end], '\n'); end < 0 {
			return text
		}
	}
	return text[end+1:]
}
