package journal

import (
	"context"
	"fmt"
)

// Scan calls f with the records from from to to in order, on all processors: of
// all, or of the machines that are named, those of one after the other. One that
// can't be read comes as an Entry that says so.
func (j *Journal) Scan(ctx context.Context, from, to uint64, machines []string, f func(Entry) error) error {
	leave, err := j.enter()
	if err != nil {
		return err
	}
	defer leave()
	to = min(to, j.durable.Load())
	if len(machines) == 0 {
		err = j.scanAll(ctx, from, to, f)
	}
	for _, id := range machines {
		if err = j.scanMachine(ctx, id, from, to, f); err != nil {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("read records %d to %d: %w", from, to, err)
	}
	return nil
}

func (j *Journal) scanAll(ctx context.Context, from, to uint64, f func(Entry) error) error {
	return j.decoded(ctx, from, to, func(it *item) error {
		if it.err == nil {
			return f(Entry{Record: it.rec, Size: len(it.value)})
		}
		lost, err := j.lost(it.stored)
		for _, e := range lost {
			if err == nil {
				err = f(e)
			}
		}
		return err
	})
}

func (j *Journal) scanMachine(ctx context.Context, id string, from, to uint64, f func(Entry) error) error {
	k, ok := parseMachine(id)
	if !ok || from == 0 {
		return nil
	}
	seqs, err := j.index(k, from-1, to)
	for _, seq := range seqs {
		if err == nil {
			err = f(j.entry(seq, id))
		}
		if err == nil {
			err = ctx.Err()
		}
	}
	return err
}

// DiskBytes is what the journal takes on the disk.
func (j *Journal) DiskBytes() (uint64, error) {
	leave, err := j.enter()
	if err != nil {
		return 0, err
	}
	defer leave()
	n, err := j.diskBytes()
	if err != nil {
		return 0, fmt.Errorf("size of the journal: %w", err)
	}
	return n, nil
}
