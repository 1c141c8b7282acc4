package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/arcboxlabs/arcbox-engine/actors/client"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

const (
	maxRecords  = 1000 // of one listing
	followFirst = 10   // records shown before those to come
)

// journalFlags say which records.
type journalFlags struct {
	machine string
	kinds   []string
	since   string
	limit   int
	follow  bool
}

func newJournal(a *app) *cobra.Command {
	cmd := newJournalList(a, "journal")
	cmd.Short = "Show the history of machines"
	cmd.Long = "Show the journal's records, oldest first: what happened to machines and who asked\n" +
		"for it. Where no engine runs, the journal is read from the disk, and nothing is\n" +
		"changed. --format json prints one array, with --follow one object a line.\n" +
		"--follow goes on over restarts of the engine; exit 6 where none is there for a minute."
	cmd.Example = "  arcbox journal --machine web --since 1h\n  arcbox journal -f --format json\n  arcbox journal why web\n  arcbox journal at \"10 minutes ago\""
	cmd.AddCommand(newJournalList(a, "list"), newJournalWhy(a), newJournalAt(a), newJournalTimeline(a), newJournalStats(a), newJournalExport(a), newJournalBackup(a), newJournalRestore(a), newJournalVerify(a), newJournalRecover(a))
	unknown := group(&cobra.Command{Use: "journal"}).Args // a word that it does not know is no argument
	cmd.Args = func(_ *cobra.Command, args []string) error { return unknown(cmd, args) }
	return cmd
}

func newJournalList(a *app, use string) *cobra.Command {
	var q journalFlags
	cmd := &cobra.Command{Use: use, Short: "List records (the same as arcbox journal)", Args: noArgs}
	f := cmd.Flags()
	f.StringVar(&q.since, "since", "", "not older than this: 10m, 2d, yesterday, or 2026-01-31T12:00:00Z")
	f.IntVar(&q.limit, "limit", maxRecords, "the last so many")
	f.BoolVarP(&q.follow, "follow", "f", false, "go on with what comes, until Ctrl-C")
	q.addFilters(a, cmd)
	cmd.RunE = a.verb(func(ctx context.Context, cmd *cobra.Command, _ []string) error {
		query, err := q.query(a, cmd)
		if err != nil {
			return usage(cmd, err)
		}
		e, err := a.history(ctx)
		if err != nil {
			return err
		}
		defer e.Close()
		if q.follow {
			return a.followJournal(ctx, e, query)
		}
		return a.listJournal(ctx, e, query, !cmd.Flags().Changed("limit"))
	})
	return cmd
}

// addFilters adds the flags that say which records.
func (q *journalFlags) addFilters(a *app, cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&q.machine, "machine", "", "of this machine only, by name or id; removed ones count")
	f.StringSliceVar(&q.kinds, "kind", nil, "of these kinds only, as in exited,repaired")
	a.complete(cmd, "kind", slices.Concat(kindsOfMachines, kindsOfEngine)...)
	if err := cmd.RegisterFlagCompletionFunc("machine", a.completeNames(manyNames)); err != nil {
		panic(err) // no such flag
	}
}

func (q *journalFlags) query(a *app, cmd *cobra.Command) (*wire.QueryJournal, error) {
	out := &wire.QueryJournal{Machine: q.machine, Kinds: q.kinds}
	if q.limit < 1 || q.limit > maxRecords {
		return nil, badInput("limit", "--limit %d: 1 to %d", q.limit, maxRecords)
	}
	out.Limit = uint32(q.limit) //nolint:gosec // checked
	if q.follow && !cmd.Flags().Changed("limit") && q.since == "" {
		out.Limit = followFirst
	}
	if q.since != "" {
		t, err := parseSince(q.since, a.now())
		if err != nil {
			return nil, badInput("since", "--since %v", err)
		}
		out.SinceUnixNanos = t.UnixNano()
	}
	return out, nil
}

// history is the engine, or, where none runs, the engine's binary, which reads
// the journal from the disk and says so.
func (a *app) history(ctx context.Context) (engine, error) {
	e, err := a.running(ctx)
	if !errors.Is(err, client.ErrNoEngine) || a.isFar() { // another host's disk is not read from here
		return e, err
	}
	h, err := a.home()
	if err != nil {
		return nil, err
	}
	path, err := findEngine(a.env)
	if err != nil {
		return nil, err
	}
	return &offline{path: path, env: homeEnv(a.environ(), h), stderr: a.stderr, run: runEngine, stream: streamEngine}, nil
}

func (a *app) listJournal(ctx context.Context, e engine, q *wire.QueryJournal, byDefault bool) error {
	records, err := ask[*wire.Records](ctx, e, q)
	if err != nil {
		return err
	}
	if records.GetMore() && byDefault {
		a.note("these are the last %d records; --since, --machine and --kind choose others", len(records.GetRecords()))
	}
	if a.json() {
		out := make([]recordJSON, len(records.GetRecords()))
		for i, r := range records.GetRecords() {
			out[i] = recordView(r)
		}
		return a.printJSON(out)
	}
	rows := make([][]string, len(records.GetRecords()))
	for i, r := range records.GetRecords() {
		rows[i] = recordRow(r)
	}
	return a.printTable(recordHeader, rows)
}

// followJournal prints the last records, then whatever comes behind them. The
// sequence number ties the two together without a gap.
func (a *app) followJournal(ctx context.Context, e engine, q *wire.QueryJournal) error {
	if _, down := e.(*offline); down {
		return errNothingFollows
	}
	records, err := ask[*wire.Records](ctx, e, q)
	if err != nil {
		return err
	}
	if !a.json() {
		if err := a.printFollowed(recordHeader); err != nil {
			return err
		}
	}
	if err := a.printRecords(records.GetRecords()); err != nil {
		return err
	}
	err = e.Follow(ctx, &wire.QueryJournal{Machine: q.GetMachine(), Kinds: q.GetKinds(), After: records.GetLast()}, a.printRecords)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func (a *app) printRecords(records []*wire.Record) error {
	for _, r := range records {
		var err error
		if a.json() {
			err = a.printLine(recordView(r))
		} else {
			err = a.printFollowed(recordRow(r))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// printFollowed prints a row of a table whose other rows are not known yet.
func (a *app) printFollowed(cells []string) error {
	widths := []int{6, 20, 16, 16, 8, 8, 14}
	var b strings.Builder
	for i, c := range tableRow(cells) {
		if i < len(widths) {
			fmt.Fprintf(&b, "%-*s  ", widths[i], c)
		} else {
			fmt.Fprint(&b, c)
		}
	}
	_, err := fmt.Fprintln(a.stdout, strings.TrimRight(b.String(), " "))
	return err
}
