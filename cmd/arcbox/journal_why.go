package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

func newJournalWhy(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "why NAME",
		Short: "Tell why a machine is in its state, and what follows",
		Long: "Tell why a machine is in its state: since when, by whose request, through which\n" +
			"records, what the engine owes it by when, what to try next, and what else can be\n" +
			"done. Removed machines are remembered by name, and all by id.",
		Example:           "  arcbox journal why web\n  arcbox journal why web --format json",
		Args:              named(1, 1),
		ValidArgsFunction: a.completeNames(1),
		RunE: a.verb(func(ctx context.Context, _ *cobra.Command, args []string) error {
			e, err := a.history(ctx)
			if err != nil {
				return err
			}
			defer e.Close()
			why, err := ask[*wire.Why](ctx, e, &wire.WhyMachine{Name: args[0]})
			if err != nil {
				return err
			}
			return a.printWhy(why)
		}),
	}
}

type whyJSON struct {
	Sentence string       `json:"sentence"`
	Machine  machineJSON  `json:"machine"`
	Chain    []recordJSON `json:"chain"`
	Can      []string     `json:"can"`
	Advice   []adviceJSON `json:"advice"`
}

// adviceJSON is a command to try next, and what for.
type adviceJSON struct {
	Command string `json:"command"`
	Why     string `json:"why"`
}

func (a *app) printWhy(w *wire.Why) error {
	if a.json() {
		out := whyJSON{Sentence: w.GetSentence(), Machine: machineView(w.GetMachine()), Chain: []recordJSON{}, Can: append([]string{}, w.GetCan()...), Advice: []adviceJSON{}}
		for _, x := range w.GetAdvice() {
			out.Advice = append(out.Advice, adviceJSON{x.GetCommand(), x.GetWhy()})
		}
		for _, r := range w.GetChain() {
			out.Chain = append(out.Chain, recordView(r))
		}
		return a.printJSON(out)
	}
	if _, err := fmt.Fprintf(a.stdout, "%s\n\n", printableLines(w.GetSentence())); err != nil {
		return err
	}
	m := w.GetMachine()
	if err := a.printFacts([]fact{
		{"state", m.GetState()}, {"since", a.when(m.GetSinceUnixNanos())}, {"desired", m.GetDesired()}, {"health", healthText(m)},
	}); err != nil {
		return err
	}
	var b strings.Builder
	for _, o := range m.GetOwed() {
		fmt.Fprintf(&b, "%-14s %s\n", "owed:", printable(a.owedText(o)))
	}
	for _, x := range w.GetAdvice() {
		fmt.Fprintf(&b, "%-14s %-32s  # %s\n", "next:", printable(x.GetCommand()), printable(x.GetWhy()))
	}
	for _, can := range w.GetCan() {
		if !advised(w, can) {
			fmt.Fprintf(&b, "%-14s %s\n", "you can:", printable(can))
		}
	}
	b.WriteString("\n")
	if _, err := io.WriteString(a.stdout, b.String()); err != nil {
		return err
	}
	rows := make([][]string, len(w.GetChain()))
	for i, r := range w.GetChain() {
		rows[i] = recordRow(r)
	}
	if err := a.printTable(recordHeader, rows); err != nil || m.GetState() != "Stopped" || m.GetConsoleTail() == "" {
		return err
	}
	return a.printTail("\nconsole:\n", m.GetConsoleTail())
}

// advised tells whether a command stands among the next ones to try.
func advised(w *wire.Why, command string) bool {
	for _, x := range w.GetAdvice() {
		if x.GetCommand() == command {
			return true
		}
	}
	return false
}
