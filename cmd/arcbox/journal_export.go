package main

import (
	"context"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

func newJournalExport(a *app) *cobra.Command {
	var q journalFlags
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Print records as JSON lines, for programs",
		Long: "Print records as JSON, one a line, oldest first; docs/journal.md describes the\n" +
			"fields. --follow goes on with what comes: with --since, and the number of the last\n" +
			"record that was handled, it is an event stream without a gap, also over restarts\n" +
			"of the engine; exit 6 where none is there for a minute. A record that can't be read\n" +
			"is a line as well.",
		Example: "  arcbox journal export > journal.jsonl\n  arcbox journal export --follow --since 4711\n" +
			"  arcbox journal export --machine web --kind exited,repaired --since 1d",
		Args: noArgs,
	}
	f := cmd.Flags()
	f.StringVar(&q.since, "since", "", "behind this record, by number, or not older than a time (10m, yesterday)")
	f.BoolVarP(&q.follow, "follow", "f", false, "go on with what comes, until Ctrl-C")
	q.addFilters(a, cmd)
	cmd.RunE = a.verb(func(ctx context.Context, cmd *cobra.Command, _ []string) error {
		query := &wire.QueryJournal{Machine: q.machine, Kinds: q.kinds, Forward: true, Limit: maxRecords}
		if seq, err := strconv.ParseUint(q.since, 10, 64); err == nil {
			query.After = seq
		} else if q.since != "" {
			t, err := parseTime(q.since, a.now())
			if err != nil {
				return usage(cmd, badInput("since", "--since %v; or the number of a record", err))
			}
			query.SinceUnixNanos = t.UnixNano()
		}
		e, err := a.history(ctx)
		if err != nil {
			return err
		}
		defer e.Close()
		return a.export(ctx, e, query, q.follow)
	})
	return cmd
}

// export prints what is there, page after page, and then what follows. The
// sequence number ties the two together.
func (a *app) export(ctx context.Context, e engine, q *wire.QueryJournal, follow bool) error {
	a.format = "json" // whatever was asked for
	if _, down := e.(*offline); down {
		if follow {
			return errNothingFollows
		}
		return e.Follow(ctx, q, a.printRecords)
	}
	for more := true; more; {
		page, err := ask[*wire.Records](ctx, e, q)
		if err != nil {
			return err
		}
		if err := a.printRecords(page.GetRecords()); err != nil {
			return err
		}
		if n := len(page.GetRecords()); n > 0 {
			q.After = page.GetRecords()[n-1].GetSeq()
		}
		if more = page.GetMore() && len(page.GetRecords()) > 0; !more {
			q.After = max(q.GetAfter(), page.GetLast())
		}
	}
	if !follow {
		return nil
	}
	err := e.Follow(ctx, &wire.QueryJournal{Machine: q.GetMachine(), Kinds: q.GetKinds(), After: q.GetAfter()}, a.printRecords)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
