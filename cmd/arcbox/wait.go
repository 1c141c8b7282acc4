package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

var waitable = []string{"running", "booted", untilProvisioned, "stopped", "agent", "ip"}

// waitGrace is how much longer than the engine this side waits.
const waitGrace = 5 * time.Second

func newWait(a *app) *cobra.Command {
	limit := limitValue(2 * time.Minute)
	cmd := &cobra.Command{
		Use:   "wait NAME running|booted|provisioned|stopped|agent|ip|record=KIND",
		Short: "Wait until a machine is in a state, or for a record of it",
		Long: "Wait until a machine is running, until the init of its image is ready (booted), until\n" +
			"its set-up has a result (provisioned; exit 1 where it failed), until it is stopped,\n" +
			"until its agent answers, or until it has an address (ip). Exit 5 where it is not in\n" +
			"time. It starts and stops nothing.\n\n" +
			"record=KIND waits for a record of that kind (arcbox journal shows them) behind all that\n" +
			"there are of the machine now, or behind record --since, and prints it; exit 4 where\n" +
			"the machine is removed meanwhile. It goes on over restarts of the engine.",
		Example: "  arcbox wait web agent --timeout 30s\n  arcbox wait web record=exited --timeout 1h",
		Args:    waitArgs,
		ValidArgsFunction: func(cmd *cobra.Command, args []string, part string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 1 {
				return append(slices.Clone(waitable), recordWords()...), cobra.ShellCompDirectiveNoFileComp
			}
			return a.completeNames(1)(cmd, args, part)
		},
	}
	cmd.Flags().Var(&limit, "timeout", "how long to wait")
	since := cmd.Flags().Uint64("since", 0, "record=KIND: behind this record, in place of the last one")
	cmd.RunE = a.verb(func(ctx context.Context, cmd *cobra.Command, args []string) error {
		kind, isRecord := strings.CutPrefix(args[1], recordWord)
		if !isRecord && cmd.Flags().Changed("since") {
			return usage(cmd, badInput("since", "--since %d: only with %sKIND", *since, recordWord))
		}
		e, err := a.engine(ctx)
		if err != nil {
			return err
		}
		defer e.Close()
		if isRecord {
			after := *since
			if !cmd.Flags().Changed("since") {
				after = sinceNow
			}
			return a.awaitRecord(ctx, e, args[0], kind, after, time.Duration(limit))
		}
		done, err := await(ctx, e, args[0], args[1], time.Duration(limit))
		if err != nil {
			return err
		}
		return a.printDone(args[0], done, false)
	})
	return cmd
}

func waitArgs(cmd *cobra.Command, args []string) error {
	if len(args) != 2 {
		return badInput("", "%s wants a name and what to wait for: %s, %sKIND", cmd.CommandPath(), strings.Join(waitable, ", "), recordWord)
	}
	if kind, ok := strings.CutPrefix(args[1], recordWord); ok {
		if !slices.Contains(kindsOfMachines, kind) {
			f := badInput("until", "%q: no kind of record is called so: one of %s", shorten(args[1], 80), strings.Join(kindsOfMachines, ", "))
			f.hint = didYouMean(kind, kindsOfMachines, recordWord)
			return f
		}
	} else if !slices.Contains(waitable, args[1]) {
		return badInput("until", "%q can't be waited for: one of %s, %sKIND", shorten(args[1], 80), strings.Join(waitable, ", "), recordWord)
	}
	return checkName(args[0])
}

// await asks the engine to answer when the machine is there. An engine that
// does not keep its own time limit counts as one that does not answer.
func await(ctx context.Context, e engine, name, until string, limit time.Duration) (*wire.Done, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit+waitGrace, errMute)
	defer cancel()
	q := &wire.AwaitMachine{Name: name, Until: until, TimeoutNanos: int64(limit)}
	done, err := askLong[*wire.Done](ctx, e, q)
	return done, nearest(ctx, e, q, err)
}
