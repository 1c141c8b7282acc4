package main

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

const listRounds = 40

// list measures a whole process that lists the machines.
func (b *bench) list(ctx context.Context) error {
	for _, n := range []int{3, 1000} {
		if err := b.listOf(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) listOf(ctx context.Context, n int) error {
	e, err := b.newEngine(fmt.Sprintf("list%d", n))
	if err != nil {
		return err
	}
	defer e.end()
	if _, _, err := e.start(ctx); err != nil {
		return err
	}
	if err := e.fill(ctx, 0, n, "qemu"); err != nil {
		return err
	}
	var v *virt
	if b.virt != nil {
		if v, err = b.virt.start(ctx, fmt.Sprintf("virt%d", n)); err != nil {
			return err
		}
		defer b.virt.close()
		if _, err := v.define(ctx, n); err != nil {
			return err
		}
	}
	var ours, rival []time.Duration
	for i := range listRounds + 3 {
		t, err := process(e.cli(ctx, "list"))
		if err != nil {
			return err
		}
		var r time.Duration
		if v != nil {
			if r, err = process(v.sh(ctx, "list", "--all")); err != nil {
				return err
			}
		}
		if i >= 3 { // the first fill caches
			ours, rival = append(ours, t), append(rival, r)
		}
	}
	b.listRow(n, ours, rival, v != nil)
	return nil
}

func (b *bench) listRow(n int, ours, rival []time.Duration, held bool) {
	aim := 15 * time.Millisecond
	if n > 3 {
		aim = 30 * time.Millisecond
	}
	r := row{
		what: fmt.Sprintf("`arcbox list` as a new process, %d machines", n), aim: "≤ " + ms(aim),
		ours: ms(median(ours)), runs: len(ours), hit: judge(median(ours) <= aim),
	}
	if held {
		r.rival, r.ratio = "`virsh list --all`: "+ms(median(rival)), times(paired(ours, rival))
	} else {
		r.rival = noLibvirt
	}
	b.out.add(r)
}

const noLibvirt = "libvirt is not installed"

// cli is an arcbox process for the engine.
func (e *engine) cli(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(e.b.bin, "arcbox"), args...)
	cmd.Env = e.env()
	return cmd
}

// process runs a whole process, its output thrown away.
func process(cmd *exec.Cmd) (time.Duration, error) {
	cmd.Stdout = io.Discard // through a pipe, as a shell's would be
	begun := time.Now()
	if err := cmd.Run(); err != nil {
		return 0, fmt.Errorf("%v: %w", cmd.Args, err)
	}
	return time.Since(begun), nil
}

// fill creates machines from first on, many at once.
func (e *engine) fill(ctx context.Context, first, n int, backend string) error {
	return e.each(n, func(i int) error {
		_, err := e.do(ctx, machine(fmt.Sprintf("m%d", first+i), backend))
		return err
	})
}

// underWay is how many requests of one connection wait for answers at once.
const underWay = 256

// each does n things, many at once, and gives the first error.
func (e *engine) each(n int, do func(int) error) error {
	work, failed := make(chan int), make(chan error, underWay)
	var all sync.WaitGroup
	for range min(n, underWay) {
		all.Go(func() {
			for i := range work {
				if err := do(i); err != nil {
					failed <- err
					for range work { // let the others end
						continue
					}
				}
			}
		})
	}
	for i := range n {
		work <- i
	}
	close(work)
	all.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

// startAll starts machines that are there, and waits until they run.
func (e *engine) startAll(ctx context.Context, n int) error {
	return e.each(n, func(i int) error {
		_, err := e.do(ctx, &wire.StartMachine{Request: request(), Name: fmt.Sprintf("m%d", i)})
		return err
	})
}
