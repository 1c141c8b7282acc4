package main

import (
	"context"
	"fmt"
	"log"
	"time"
)

const (
	manyMachines = 10_000
	manyRuns     = 20 // of each machine, 5 records each
	openRounds   = 9
	adoptRounds  = 9
	adopted      = 20
)

// open measures the start of an engine with a long history.
func (b *bench) open(ctx context.Context) error {
	e, err := b.newEngine("open")
	if err != nil {
		return err
	}
	defer e.end()
	begun := time.Now()
	records, err := writeHistory(e.home, manyMachines, manyRuns)
	if err != nil {
		return err
	}
	log.Printf("open: %d records written in %s", records, time.Since(begun).Round(100*time.Millisecond))
	var took []time.Duration
	for i := range openRounds + 1 {
		t, list, err := e.start(ctx)
		if err != nil {
			return err
		}
		if n := len(list.GetMachines()); n != manyMachines {
			return fmt.Errorf("the list has %d machines", n)
		}
		if i > 0 { // the first comes after an orderly end
			took = append(took, t)
		}
		// As after a crash: not before it has looked at every machine, since
		// that writes nothing and is done a second later.
		if _, err := e.settled(ctx, 0); err != nil {
			return err
		}
		if i < openRounds {
			e.kill()
		}
	}
	b.out.add(row{
		what: fmt.Sprintf("engine start to first `list`, 10,000 machines, %.2f M records", float64(records)/1e6), aim: "≤ 1 s",
		ours: ms(median(took)), runs: len(took), hit: judge(median(took) <= time.Second),
	})
	return b.keepMemory(ctx, e, records)
}

// settled waits until every machine was looked at and so many run; it gives
// the moment.
func (e *engine) settled(ctx context.Context, running uint32) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		info, err := e.status(ctx)
		if err != nil {
			return time.Time{}, err
		}
		if info.GetUnrepaired() == 0 && info.GetRunning() == running {
			return time.Now(), nil
		}
		select {
		case <-ctx.Done():
			return time.Time{}, fmt.Errorf("%d machines not looked at, %d of %d run: %w",
				info.GetUnrepaired(), info.GetRunning(), running, context.Cause(ctx))
		case <-time.After(time.Millisecond):
		}
	}
}

// adopt measures how long a new engine takes to find what runs.
func (b *bench) adopt(ctx context.Context) error {
	e, err := b.newEngine("adopt", "--allow-sim")
	if err != nil {
		return err
	}
	defer e.end()
	if _, _, err := e.start(ctx); err != nil {
		return err
	}
	if err := e.fill(ctx, 0, adopted, "sim"); err != nil {
		return err
	}
	if err := e.startAll(ctx, adopted); err != nil {
		return err
	}
	var took []time.Duration
	for range adoptRounds {
		e.kill()
		begun := time.Now()
		if _, _, err := e.start(ctx); err != nil {
			return err
		}
		all, err := e.settled(ctx, adopted)
		if err != nil {
			return err
		}
		took = append(took, all.Sub(begun))
	}
	b.out.add(row{
		what: "engine restart (after `kill -9`) → 20 running `sim` machines adopted", aim: "≤ 1 s",
		ours: ms(median(took)), runs: len(took), hit: judge(median(took) <= time.Second),
	})
	return nil
}
