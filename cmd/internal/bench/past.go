package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"time"
)

const (
	pastMachines = 1000
	pastRuns     = 200 // of each machine, 5 records each: a million
	pastRounds   = 15
	followed     = 200
)

// past measures questions to a long history, each as a new process, and how soon
// a record reaches who follows.
func (b *bench) past(ctx context.Context) error {
	e, err := b.newEngine("past")
	if err != nil {
		return err
	}
	defer e.end()
	begun := time.Now()
	records, err := writeHistory(e.home, pastMachines, pastRuns)
	if err != nil {
		return err
	}
	ended := time.Now()
	log.Printf("past: %d records written in %s", records, ended.Sub(begun).Round(100*time.Millisecond))
	if _, _, err := e.start(ctx); err != nil {
		return err
	}
	if _, err := e.settled(ctx, 0); err != nil {
		return err
	}
	middle := begun.Add(ended.Sub(begun) / 2).UTC().Format(time.RFC3339Nano)
	for _, q := range []struct {
		aim  time.Duration
		args []string
	}{
		{100 * time.Millisecond, []string{"journal", "at", middle}},
		{100 * time.Millisecond, []string{"journal", "at", middle, "machine-7"}},
		{15 * time.Millisecond, []string{"journal", "why", "machine-7"}},
		{15 * time.Millisecond, []string{"journal", "--limit", "20"}},
	} {
		var took []time.Duration
		for range pastRounds {
			t, err := process(e.cli(ctx, q.args...))
			if err != nil {
				return err
			}
			took = append(took, t)
		}
		what := "`arcbox " + q.args[0] + " " + q.args[1]
		if q.args[1] == "at" {
			what += " TIME"
			if len(q.args) > 3 {
				what += " NAME"
			}
		} else {
			what += " " + q.args[2]
		}
		b.out.add(row{
			what: fmt.Sprintf("%s` as a new process, %d machines, %.2f M records", what, pastMachines, float64(records)/1e6),
			aim:  "≤ " + ms(q.aim), ours: ms(median(took)), runs: len(took), hit: judge(median(took) <= q.aim),
		})
	}
	if err := b.verify(ctx, e, records); err != nil {
		return err
	}
	return b.follow(ctx, e)
}

func (b *bench) verify(ctx context.Context, e *engine, records uint64) error {
	var rates []float64
	for range 3 {
		t, err := process(e.cli(ctx, "journal", "verify"))
		if err != nil {
			return err
		}
		rates = append(rates, float64(records)/t.Seconds())
	}
	b.out.add(row{
		what: "`arcbox journal verify` as a new process", aim: "≥ 1,000,000/s", ours: rate(median(rates)), runs: len(rates), hit: judge(median(rates) >= 1e6),
	})
	return nil
}

// follow measures from the time in a record, which it gets before it is synced,
// to its line on the standard output of a program that follows.
func (b *bench) follow(ctx context.Context, e *engine) error {
	info, err := e.status(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := e.cli(ctx, "journal", "export", "--follow", "--since", fmt.Sprint(info.GetSeq()))
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return fmt.Errorf("follow: %w", err)
	}
	defer func() { cancel(); _ = cmd.Wait() }()
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	var took []time.Duration
	for i := range followed {
		if _, err := e.do(ctx, machine(fmt.Sprintf("f%d", i), "qemu")); err != nil {
			return err
		}
		if !lines.Scan() {
			return fmt.Errorf("follow: it ended: %w", lines.Err())
		}
		came := time.Now()
		var r struct{ Time time.Time }
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return fmt.Errorf("follow: %w", err)
		}
		if i > 0 { // the first waits for the process to connect
			took = append(took, came.Sub(r.Time))
		}
	}
	b.out.add(row{
		what: "a record, from its date (before its sync) to its line from `arcbox journal export --follow`", aim: "≤ 5 ms",
		ours: ms(median(took)), runs: len(took), hit: judge(median(took) <= 5*time.Millisecond),
	})
	return nil
}
