package main

import (
	"context"
	"fmt"
	"time"
)

const (
	createRounds = 9
	createBatch  = 200
	pipeRounds   = 7
	pipeBatch    = 2000
)

// create measures durable creates, one after the other and pipelined.
func (b *bench) create(ctx context.Context) error {
	e, err := b.newEngine("create")
	if err != nil {
		return err
	}
	defer e.end()
	if _, _, err := e.start(ctx); err != nil {
		return err
	}
	if err := b.createSequential(ctx, e); err != nil {
		return err
	}
	return b.createPipelined(ctx, e)
}

func (b *bench) createSequential(ctx context.Context, e *engine) error {
	var v *virt
	var err error
	if b.virt != nil {
		if v, err = b.virt.start(ctx, "virt"); err != nil {
			return err
		}
		defer b.virt.close()
		if _, err := v.define(ctx, 10); err != nil { // it looks at QEMU first
			return err
		}
	}
	var ours, rival []float64
	for i := range createRounds {
		begun := time.Now()
		for j := range createBatch {
			if _, err := e.do(ctx, machine(fmt.Sprintf("s%d-%d", i, j), "qemu")); err != nil {
				return err
			}
		}
		ours = append(ours, createBatch/time.Since(begun).Seconds())
		if v == nil {
			continue
		}
		r, err := v.rate(ctx)
		if err != nil {
			return err
		}
		rival = append(rival, r)
	}
	r := row{
		what: "durable `create`, one after the other over one connection", aim: "≥ 2 ×", ours: rate(median(ours)),
		rival: noLibvirt, runs: len(ours),
	}
	if v != nil {
		x := paired(ours, rival)
		r.rival, r.ratio, r.hit = "`virsh define`: "+rate(median(rival)), times(x), judge(x >= 2)
	}
	b.out.add(r)
	return nil
}

// rate defines domains; what virsh takes to connect does not count.
func (v *virt) rate(ctx context.Context) (float64, error) {
	idle, err := process(v.sh(ctx, "uri"))
	if err != nil {
		return 0, err
	}
	took, err := v.define(ctx, createBatch)
	if err != nil {
		return 0, err
	}
	return createBatch / (took - idle).Seconds(), nil
}

func (b *bench) createPipelined(ctx context.Context, e *engine) error {
	var rates []float64
	for i := range pipeRounds {
		begun := time.Now()
		err := e.each(pipeBatch, func(j int) error {
			_, err := e.do(ctx, machine(fmt.Sprintf("p%d-%d", i, j), "qemu"))
			return err
		})
		if err != nil {
			return err
		}
		rates = append(rates, pipeBatch/time.Since(begun).Seconds())
	}
	b.out.add(row{
		what: fmt.Sprintf("durable `create`, pipelined: %d requests under way on one connection", underWay), aim: "≥ 4,000/s",
		ours: rate(median(rates)), runs: len(rates), hit: judge(median(rates) >= 4000),
	})
	return nil
}
