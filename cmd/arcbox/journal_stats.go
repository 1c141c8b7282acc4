package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

func newJournalStats(a *app) *cobra.Command {
	var since string
	cmd := &cobra.Command{
		Use:   "stats",
		Short: "Count records, and tell times in states and how long starts took",
		Long: "Count the journal's records by kind, and tell how many come in an hour and a day,\n" +
			"what they take on the disk, how long each machine was in each state, and how long\n" +
			"starts took, from the request to the agent's answer (half of them, and 99 of 100,\n" +
			"took no longer than p50 and p99).",
		Example: "  arcbox journal stats --since 7d\n  arcbox journal stats --format json",
		Args:    noArgs,
	}
	cmd.Flags().StringVar(&since, "since", "", "count from there on: 10m, 2d, yesterday, \"2026-01-31 12:00\" (default: everything)")
	cmd.RunE = a.verb(func(ctx context.Context, cmd *cobra.Command, _ []string) error {
		q := &wire.CountJournal{}
		if since != "" {
			t, err := parseTime(since, a.now())
			if err != nil {
				return usage(cmd, badInput("since", "--since %v", err))
			}
			q.SinceUnixNanos = t.UnixNano()
		}
		e, err := a.history(ctx)
		if err != nil {
			return err
		}
		defer e.Close()
		s, err := askLong[*wire.JournalStats](ctx, e, q)
		if err != nil {
			return err
		}
		if a.json() {
			return a.printJSON(statsView(s))
		}
		return a.printStats(s)
	})
	return cmd
}

// statsJSON is what stats prints. Durations are milliseconds.
type statsJSON struct {
	Records      uint64            `json:"records"`
	First        uint64            `json:"first"`
	Last         uint64            `json:"last"`
	FirstTime    *time.Time        `json:"first_time,omitempty"`
	LastTime     *time.Time        `json:"last_time,omitempty"`
	Unreadable   uint64            `json:"unreadable"`
	LastHour     uint64            `json:"last_hour"`
	LastDay      uint64            `json:"last_day"`
	DiskBytes    uint64            `json:"disk_bytes"`
	RecordBytes  uint64            `json:"record_bytes"`
	Kinds        map[string]uint64 `json:"kinds"`
	Starts       uint64            `json:"starts"`
	FailedStarts uint64            `json:"failed_starts"`
	StartMillis  map[string]int64  `json:"start_ms"` // p50, p90, p99, max
	Removed      uint32            `json:"removed"`
	Machines     []tallyJSON       `json:"machines"`
	More         bool              `json:"more,omitempty"`
}

type tallyJSON struct {
	Name    string           `json:"name"`
	Machine string           `json:"machine"`
	Records uint64           `json:"records"`
	States  map[string]int64 `json:"states_ms"`
	Starts  uint64           `json:"starts"`
	P50     int64            `json:"start_p50_ms,omitempty"`
	P99     int64            `json:"start_p99_ms,omitempty"`
}

var percentiles = []string{"p50", "p90", "p99", "max"}

func millis(nanos int64) int64 { return nanos / int64(time.Millisecond) }

func statsView(s *wire.JournalStats) statsJSON {
	out := statsJSON{
		Records: s.GetRecords(), First: s.GetFirst(), Last: s.GetLast(), FirstTime: wireTime(s.GetFirstUnixNanos()), LastTime: wireTime(s.GetLastUnixNanos()),
		Unreadable: s.GetUnreadable(), LastHour: s.GetLastHour(), LastDay: s.GetLastDay(), DiskBytes: s.GetDiskBytes(), RecordBytes: s.GetRecordBytes(),
		Kinds: s.GetKinds(), Starts: s.GetStarts(), FailedStarts: s.GetFailedStarts(), StartMillis: map[string]int64{}, Removed: s.GetRemoved(),
		Machines: []tallyJSON{}, More: s.GetMore(),
	}
	for i, p := range s.GetStartsP() {
		if i < len(percentiles) {
			out.StartMillis[percentiles[i]] = millis(p)
		}
	}
	for _, t := range s.GetMachines() {
		row := tallyJSON{t.GetName(), t.GetMachine(), t.GetRecords(), map[string]int64{}, t.GetStarts(), millis(t.GetStartP50()), millis(t.GetStartP99())}
		for state, n := range t.GetNanos() {
			row.States[state] = millis(n)
		}
		out.Machines = append(out.Machines, row)
	}
	return out
}

func (a *app) printStats(s *wire.JournalStats) error {
	each := ""
	if s.GetRecords() > 0 {
		each = fmt.Sprintf(", %d bytes a record", s.GetRecordBytes()/s.GetRecords())
	}
	facts := []fact{
		{"records", fmt.Sprintf("%d, from %d to %d", s.GetRecords(), s.GetFirst(), s.GetLast())},
		{"first", a.when(s.GetFirstUnixNanos())},
		{"last", a.when(s.GetLastUnixNanos())},
		{"last hour", fmt.Sprint(s.GetLastHour())},
		{"last day", fmt.Sprint(s.GetLastDay())},
		{"unreadable", number(int64(s.GetUnreadable()))}, //nolint:gosec // for people
		{"on disk", fmt.Sprintf("%.1f MiB%s", float64(s.GetDiskBytes())/mib, each)},
		{"starts", startsText(s)},
		{"removed", number(int64(s.GetRemoved()))},
	}
	if err := a.printFacts(facts); err != nil {
		return err
	}
	kinds := slices.SortedFunc(maps.Keys(s.GetKinds()), func(x, y string) int {
		return cmp.Or(cmp.Compare(s.GetKinds()[y], s.GetKinds()[x]), strings.Compare(x, y))
	})
	rows := make([][]string, len(kinds))
	for i, k := range kinds {
		rows[i] = []string{k, fmt.Sprint(s.GetKinds()[k])}
	}
	if _, err := fmt.Fprintln(a.stdout); err != nil {
		return err
	}
	if err := a.printTable([]string{"KIND", "RECORDS"}, rows); err != nil || len(s.GetMachines()) == 0 {
		return err
	}
	if _, err := fmt.Fprintln(a.stdout); err != nil {
		return err
	}
	return a.printTallies(s.GetMachines())
}

func startsText(s *wire.JournalStats) string {
	text := fmt.Sprintf("%d, and %d that failed", s.GetStarts(), s.GetFailedStarts())
	for i, p := range s.GetStartsP() {
		if i < len(percentiles) {
			text += fmt.Sprintf(", %s %s", percentiles[i], time.Duration(p).Round(time.Millisecond))
		}
	}
	return text
}

var tallyStates = []string{"Created", "Starting", "Running", "Stopping", "Stopped"}

func (a *app) printTallies(machines []*wire.Tally) error {
	header := []string{"NAME", "RECORDS", "STARTS", "P50", "P99"}
	for _, state := range tallyStates {
		header = append(header, strings.ToUpper(state))
	}
	rows := make([][]string, len(machines))
	for i, t := range machines {
		row := []string{t.GetName(), fmt.Sprint(t.GetRecords()), number(int64(t.GetStarts())), "", ""} //nolint:gosec // for people
		if t.GetStarts() > 0 {
			row[3], row[4] = time.Duration(t.GetStartP50()).Round(time.Millisecond).String(), time.Duration(t.GetStartP99()).Round(time.Millisecond).String()
		}
		for _, state := range tallyStates {
			text := ""
			if n := t.GetNanos()[state]; n > 0 {
				text = time.Duration(n).Round(time.Second).String()
			}
			row = append(row, text)
		}
		rows[i] = row
	}
	return a.printTable(header, rows)
}
