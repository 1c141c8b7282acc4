package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

func newJournalAt(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "at TIME [NAME]",
		Short: "Show the machines, or one, as they were at a time",
		Long: "Show the list of machines as it was at a time, or everything about the one machine\n" +
			"that had the name then. TIME is absolute (2026-01-31T12:00:00Z, \"2026-01-31 12:00\",\n" +
			"2026-01-31, 12:00; of this host's zone where none is given) or relative (10m, 2d,\n" +
			"\"10 minutes ago\", today, yesterday: their beginning). Where the clock was set, the\n" +
			"record dated closest before the time decides.",
		Example: "  arcbox journal at \"10 minutes ago\"\n  arcbox journal at 2026-01-31 12:00 web\n  arcbox journal at yesterday --format json",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return badInput("time", "%s: a time is missing, as in \"10 minutes ago\"", cmd.CommandPath())
			}
			_, names := timeWords(args)
			return named(0, 1)(cmd, names)
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, part string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 0 {
				return []string{"now", "today", "yesterday", "10m\tten minutes ago", "1h\tan hour ago", "1d\ta day ago"}, cobra.ShellCompDirectiveNoFileComp
			}
			return a.completeNames(1)(cmd, args[1:], part)
		},
	}
	cmd.RunE = a.verb(func(ctx context.Context, cmd *cobra.Command, args []string) error {
		when, names := timeWords(args)
		at, err := parseTime(when, a.now())
		if err != nil {
			return usage(cmd, badInput("time", "%v", err))
		}
		e, err := a.history(ctx)
		if err != nil {
			return err
		}
		defer e.Close()
		q := &wire.MachinesAt{UnixNanos: at.UnixNano()}
		if len(names) == 1 {
			q.Name = names[0]
		}
		past, err := pastMachines(ctx, e, q)
		if err != nil {
			return err
		}
		return a.printPast(at, past, q.GetName() != "")
	})
	return cmd
}

// pastMachines asks page after page, all of one record.
func pastMachines(ctx context.Context, e engine, q *wire.MachinesAt) (*wire.PastMachines, error) {
	all, err := askLong[*wire.PastMachines](ctx, e, q)
	if err != nil {
		return nil, err
	}
	for after := all.GetNext(); after != ""; {
		page, err := askLong[*wire.PastMachines](ctx, e, &wire.MachinesAt{Seq: all.GetSeq(), After: after})
		if err != nil {
			return nil, err
		}
		next := page.GetNext()
		if next != "" && next <= after {
			return nil, fmt.Errorf("at: the page behind %q ends with %q", after, next)
		}
		all.Machines, after = append(all.Machines, page.GetMachines()...), next
	}
	all.Next = ""
	return all, nil
}

type pastJSON struct {
	At       *time.Time    `json:"at"`             // what was asked for
	Seq      uint64        `json:"seq"`            // the last record that counts
	Time     *time.Time    `json:"time,omitempty"` // its date
	Machines []machineJSON `json:"machines"`
}

func (a *app) printPast(at time.Time, p *wire.PastMachines, one bool) error {
	if a.json() {
		out := pastJSON{At: wireTime(at.UnixNano()), Seq: p.GetSeq(), Time: wireTime(p.GetUnixNanos()), Machines: []machineJSON{}}
		for _, m := range p.GetMachines() {
			out.Machines = append(out.Machines, machineView(m))
		}
		return a.printJSON(out)
	}
	if p.GetSeq() == 0 {
		a.note("at %s nothing had been recorded yet", at.Format(time.RFC3339))
	} else {
		a.note("as it was at %s, behind record %d", at.Format(time.RFC3339), p.GetSeq())
	}
	then := *a // ages are those of then
	then.now = func() time.Time { return at }
	if one {
		return then.printInspect(p.GetMachines()[0], nil)
	}
	if len(p.GetMachines()) == 0 {
		a.note("there were no machines")
		return machineListing(&then).table(&then, nil)
	}
	return then.printMachines(machineListing(&then), byName(p.GetMachines()), &wire.EngineInfo{})
}
