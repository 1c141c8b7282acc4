package main

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
)

const (
	appendRounds = 7
	appendTimes  = "100000x"
)

// appends runs the journal's own benchmark and its rival in turn, each in a
// process of its own.
func (b *bench) appends(ctx context.Context) error {
	test := filepath.Join(b.tmp, "journal.test")
	if out, err := exec.CommandContext(ctx, "go", "test", "-c", "-o", test, "./journal").CombinedOutput(); err != nil {
		return fmt.Errorf("build the journal's benchmarks: %w: %s", err, out)
	}
	var ours, rival []float64
	for range appendRounds {
		for _, x := range []struct {
			name string
			to   *[]float64
		}{{"BenchmarkAppend64", &ours}, {"BenchmarkRawPebble64", &rival}} {
			r, err := perSecond(ctx, test, x.name)
			if err != nil {
				return err
			}
			*x.to = append(*x.to, r)
		}
	}
	x := paired(ours, rival)
	b.out.add(row{
		what: "journal append, 64 writers, against raw Pebble sync commits of the same bytes, keys and batches", aim: "≥ 0.9 ×",
		ours: rate(median(ours)), rival: "raw Pebble: " + rate(median(rival)), ratio: times(x), runs: len(ours), hit: judge(x >= 0.9),
	})
	return nil
}

// perSecond runs one benchmark and reads its records/s.
func perSecond(ctx context.Context, test, name string) (float64, error) {
	cmd := exec.CommandContext(ctx, test, "-test.run", "^$", "-test.bench", "^"+name+"$", "-test.benchtime", appendTimes)
	cmd.Dir = filepath.Dir(test)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("%s: %w: %s", name, err, out)
	}
	fields := bytes.Fields(out)
	for i, f := range fields {
		if string(f) == "records/s" && i > 0 {
			return strconv.ParseFloat(string(fields[i-1]), 64)
		}
	}
	return 0, fmt.Errorf("%s printed no records/s: %s", name, out)
}
