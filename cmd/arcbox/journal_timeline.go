package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

// timelineSince is how far back a timeline goes by itself.
const timelineSince = 24 * time.Hour

func newJournalTimeline(a *app) *cobra.Command {
	var since, until string
	cmd := &cobra.Command{
		Use:   "timeline [NAME...]",
		Short: "Draw the states of machines over time",
		Long: "Draw through which states machines went, one line each, as wide as the terminal;\n" +
			"removed machines as well. By itself it shows the last 24 hours. A column shows the\n" +
			"state that took most of it, and × where a machine failed.",
		Example:           "  arcbox journal timeline\n  arcbox journal timeline web db --since yesterday --until 12:00\n  arcbox journal timeline web --format json",
		Args:              named(0, maxTimelines),
		ValidArgsFunction: a.completeNames(maxTimelines),
	}
	cmd.Flags().StringVar(&since, "since", "", "where it begins: 10m, 2d, yesterday, \"2026-01-31 12:00\" (default: 24 hours ago)")
	cmd.Flags().StringVar(&until, "until", "", "where it ends (default: now)")
	cmd.RunE = a.verb(func(ctx context.Context, cmd *cobra.Command, args []string) error {
		q := &wire.DrawTimeline{Names: args, SinceUnixNanos: a.now().Add(-timelineSince).UnixNano()}
		for _, f := range []struct {
			flag, text string
			to         *int64
		}{{"since", since, &q.SinceUnixNanos}, {"until", until, &q.UntilUnixNanos}} {
			if f.text == "" {
				continue
			}
			t, err := parseTime(f.text, a.now())
			if err != nil {
				return usage(cmd, badInput(f.flag, "--%s %v", f.flag, err))
			}
			*f.to = t.UnixNano()
		}
		e, err := a.history(ctx)
		if err != nil {
			return err
		}
		defer e.Close()
		t, err := askLong[*wire.Timeline](ctx, e, q)
		if err != nil {
			return err
		}
		return a.printTimeline(t, since == "")
	})
	return cmd
}

// maxTimelines is how many machines can be named.
const maxTimelines = 64

type timelineJSON struct {
	Since    *time.Time `json:"since"`
	Until    *time.Time `json:"until"`
	Machines []lifeJSON `json:"machines"`
	More     bool       `json:"more,omitempty"` // than one answer holds
}

type lifeJSON struct {
	Name    string     `json:"name"`
	Machine string     `json:"machine"`
	Cut     bool       `json:"cut,omitempty"` // the oldest spans are left out
	Spans   []spanJSON `json:"spans"`
}

type spanJSON struct {
	State string     `json:"state"`
	From  *time.Time `json:"from"`
	To    *time.Time `json:"to"`
	Cause string     `json:"cause,omitempty"`
	Seq   uint64     `json:"seq"`
}

func (a *app) printTimeline(t *wire.Timeline, shrink bool) error {
	if a.json() {
		out := timelineJSON{Since: wireTime(t.GetSinceUnixNanos()), Until: wireTime(t.GetUntilUnixNanos()), Machines: []lifeJSON{}, More: t.GetMore()}
		for _, l := range t.GetLives() {
			life := lifeJSON{Name: l.GetName(), Machine: l.GetMachine(), Cut: l.GetCut(), Spans: []spanJSON{}}
			for _, s := range l.GetSpans() {
				life.Spans = append(life.Spans, spanJSON{s.GetState(), wireTime(s.GetFromUnixNanos()), wireTime(s.GetToUnixNanos()), s.GetCause(), s.GetSeq()})
			}
			out.Machines = append(out.Machines, life)
		}
		return a.printJSON(out)
	}
	if len(t.GetLives()) == 0 {
		a.note("no machine was there at that time")
		return nil
	}
	if shrink { // to where anything begins
		first := t.GetUntilUnixNanos()
		for _, l := range t.GetLives() {
			first = min(first, l.GetSpans()[0].GetFromUnixNanos())
		}
		t.SinceUnixNanos = max(t.GetSinceUnixNanos(), first)
	}
	c := a.chartOf(t)
	var b strings.Builder
	b.WriteString(c.axis() + "\n")
	for _, l := range t.GetLives() {
		fmt.Fprintf(&b, "%-*s  %s\n", c.names, shorten(printable(l.GetName()), c.names), c.bar(l.GetSpans()))
	}
	b.WriteString(c.legend() + "\n")
	if _, err := io.WriteString(a.stdout, b.String()); err != nil {
		return err
	}
	if t.GetMore() {
		a.note("there are more machines; name those that you want to see")
	}
	return nil
}

// chart is a drawing of so many columns for a stretch of time.
type chart struct {
	since, until int64
	names        int // width of the names
	columns      int
	marks        marks
	zone         *time.Location
}

// marks is how states are drawn.
type marks struct {
	states map[string]rune
	failed rune
}

var (
	blocks = marks{map[string]rune{"Running": '█', "Starting": '▒', "Stopping": '░', "Stopped": '─', "Created": '·'}, '×'}
	ascii  = marks{map[string]rune{"Running": '#', "Starting": '+', "Stopping": '%', "Stopped": '-', "Created": '.'}, 'x'}
)

// failures are the causes that are drawn as such.
var failures = []string{"killed", "crashed", "guest-panic", "launch-failed", "agent-timeout", "host-lost"}

func (a *app) chartOf(t *wire.Timeline) *chart {
	c := &chart{since: t.GetSinceUnixNanos(), until: t.GetUntilUnixNanos(), names: 4, marks: blocks, zone: a.now().Location()}
	for _, l := range t.GetLives() {
		c.names = min(max(c.names, len([]rune(l.GetName()))), 24)
	}
	width := terminalWidth(a.stdout)
	if width <= 0 {
		width = 100
	}
	c.columns = max(20, width-c.names-2)
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := a.env(name); v != "" {
			if v == "C" || v == "POSIX" {
				c.marks = ascii
			}
			break
		}
	}
	return c
}

// start is when a column begins.
func (c *chart) start(column int) int64 {
	return c.since + int64(float64(c.until-c.since)*float64(column)/float64(c.columns))
}

// axis tells the times at quarters of the chart.
func (c *chart) axis() string {
	layout := "15:04:05"
	switch span := time.Duration(c.until - c.since); {
	case span > 48*time.Hour:
		layout = "Jan 2 15h"
	case span > 30*time.Minute:
		layout = "15:04"
	}
	line := []rune(strings.Repeat(" ", c.names+2+c.columns))
	for q := range 4 {
		column := q * c.columns / 4
		copy(line[c.names+2+column:], []rune(time.Unix(0, c.start(column)).In(c.zone).Format(layout)))
	}
	end := []rune(time.Unix(0, c.until).In(c.zone).Format(layout))
	copy(line[len(line)-len(end):], end)
	return string(line)
}

// bar draws the states of one machine.
func (c *chart) bar(spans []*wire.Span) string {
	line := make([]rune, c.columns)
	for i := range line {
		line[i] = c.mark(spans, c.start(i), c.start(i+1))
	}
	return strings.TrimRight(string(line), " ")
}

// mark is what stands for the time from one moment to another.
func (c *chart) mark(spans []*wire.Span, from, to int64) rune {
	best, mark := int64(-1), ' '
	for i, s := range spans {
		begins := s.GetFromUnixNanos() >= from && s.GetFromUnixNanos() < to && s.GetFromUnixNanos() > c.since
		asked := s.GetCause() == "killed" && i > 0 && spans[i-1].GetState() == "Stopping"
		if begins && !asked && s.GetState() == "Stopped" && slices.Contains(failures, s.GetCause()) {
			return c.marks.failed
		}
		share := min(s.GetToUnixNanos(), to) - max(s.GetFromUnixNanos(), from)
		if share > best && share > 0 {
			best, mark = share, c.marks.states[s.GetState()]
		}
	}
	return mark
}

func (c *chart) legend() string {
	var parts []string
	for _, state := range []string{"Running", "Starting", "Stopping", "Stopped", "Created"} {
		parts = append(parts, string(c.marks.states[state])+" "+state)
	}
	return fmt.Sprintf("%-*s  %s  %c failed", c.names, "", strings.Join(parts, "  "), c.marks.failed)
}
