package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/guest"
)

// trimTime bounds how long a guest may look through its disk.
const trimTime = 10 * time.Minute

func newDisk(a *app) *cobra.Command {
	cmd := group(&cobra.Command{
		Use:   "disk",
		Short: "Look after the disks of machines",
		Long: "A machine with an image has a disk of its own, a file that takes only what was\n" +
			"written to it. arcbox inspect shows how full it is, arcbox set --disk makes it\n" +
			"larger, and what was deleted in it is given back to the host by arcbox disk compact.",
		Example: "  arcbox disk compact web",
	})
	cmd.AddCommand(newDiskCompact(a))
	return cmd
}

type compactJSON struct {
	Name    string `json:"name"`
	Before  int64  `json:"before"` // bytes of the host
	After   int64  `json:"after"`
	Trimmed uint64 `json:"trimmed"` // bytes of the disk that hold nothing, as the guest says
}

// compactFarJSON is what is known of a disk of another host.
type compactFarJSON struct {
	Name    string `json:"name"`
	Trimmed uint64 `json:"trimmed"`
}

func newDiskCompact(a *app) *cobra.Command {
	limit := limitValue(trimTime)
	cmd := &cobra.Command{
		Use:   "compact [NAME]",
		Short: "Give what a machine's disk does not need back to the host",
		Long: "Give what was deleted on a machine's own disk back to the host: the guest says what\n" +
			"holds nothing, and there the disk's file gets holes. The machine has to run, and is\n" +
			"not interrupted; disks of --block are left alone. After Ctrl-C the guest goes on with\n" +
			"what it began, and nothing is lost: once more does the rest.",
		Example:           "  arcbox disk compact web\n  arcbox disk compact web --format json",
		Args:              named(0, 1),
		ValidArgsFunction: a.completeNames(1),
	}
	cmd.Flags().Var(&limit, "timeout", "how long the guest may take")
	cmd.RunE = a.verb(func(ctx context.Context, _ *cobra.Command, args []string) error {
		name, err := a.nameOf(args)
		if err != nil {
			return err
		}
		return a.compact(ctx, name, time.Duration(limit))
	})
	return cmd
}

func (a *app) compact(ctx context.Context, name string, limit time.Duration) error {
	e, m, err := a.machine(ctx, name)
	if err != nil {
		return err
	}
	defer e.Close()
	if err := canCompact(m); err != nil {
		return err
	}
	before, err := a.hostDisk(m)
	far := errors.Is(err, errFarDisk)
	if err != nil && !far {
		return err
	}
	stop := a.progress(ctx, e, "compacting the disk of", []string{name})
	defer stop()
	trimmed, err := a.trim(ctx, e, name, limit)
	stop()
	if err != nil {
		return err
	}
	if far {
		return a.printFarCompact(compactFarJSON{m.GetName(), trimmed})
	}
	after, err := a.hostDisk(m)
	if err != nil {
		return err
	}
	out := compactJSON{m.GetName(), before.Allocated, after.Allocated, trimmed}
	if a.json() {
		return a.printJSON(out)
	}
	_, err = fmt.Fprintf(a.stdout, "%s: the disk takes %s of the host, and took %s before\n", out.Name, roundSize(out.After), roundSize(out.Before))
	return err
}

// printFarCompact says what the guest said: its disk's file is another host's.
func (a *app) printFarCompact(out compactFarJSON) error {
	if a.json() {
		return a.printJSON(out)
	}
	_, err := fmt.Fprintf(a.stdout, "%s: the guest says that %s of its disk hold nothing; its host has them back\n", out.Name, roundSize(int64(min(out.Trimmed, maxDisk)))) //nolint:gosec // it is bounded
	return err
}

// canCompact refuses a machine whose guest can't be asked.
func canCompact(m *wire.Machine) error {
	f := &failure{code: exitConflict, kind: "conflict", machine: m.GetName(), state: m.GetState()}
	switch {
	case m.GetSpec().GetDisk() == 0:
		f.message = fmt.Sprintf("machine %q has no disk of its own: only one with an image has", m.GetName())
		f.hint = "arcbox inspect " + m.GetName()
	case m.GetState() != "Running":
		f.message = fmt.Sprintf("machine %q is %s: its guest says what its disk does not need, so it has to run", m.GetName(), m.GetState())
		f.hint = "arcbox start " + m.GetName()
	default:
		return nil
	}
	return f
}

func (a *app) trim(ctx context.Context, e engine, name string, limit time.Duration) (uint64, error) {
	ctx, cancel := withAgentTime(ctx, name, limit)
	defer cancel()
	var n uint64
	err := a.askGuest(ctx, e, name, func(ctx context.Context, c *guest.Client) (err error) {
		n, err = c.Trim(ctx)
		return err
	})
	return n, err
}
