package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/arcboxlabs/arcbox-engine/actors/client"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

const (
	restTime   = 20 * time.Second // during which wake-ups are counted
	settleTime = 10 * time.Second // from the last answer to being at rest
	memRounds  = 3
)

func (e *engine) status(ctx context.Context) (*wire.EngineInfo, error) {
	return client.Call[*wire.EngineInfo](ctx, e.Client, &wire.EngineStatus{})
}

// resting is the memory of an engine that has started, was listed once, and
// has had nothing to do since.
func (e *engine) resting(ctx context.Context) (float64, error) {
	if _, err := e.list(ctx); err != nil {
		return 0, err
	}
	if _, err := e.settled(ctx, 0); err != nil {
		return 0, err
	}
	if err := pause(ctx, settleTime); err != nil {
		return 0, err
	}
	return residentBytes(e.pid())
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// memory holds an engine with many machines against one with none.
func (b *bench) memory(ctx context.Context) error {
	var per, empty, full []float64
	for i := range memRounds {
		none, err := b.restingWith(ctx, fmt.Sprintf("none%d", i), 0)
		if err != nil {
			return err
		}
		many, err := b.restingWith(ctx, fmt.Sprintf("many%d", i), manyMachines)
		if err != nil {
			return err
		}
		empty, full = append(empty, none), append(full, many)
		per = append(per, (many-none)/manyMachines)
	}
	b.out.add(row{
		what: "memory a registered machine costs the engine, at 10,000", aim: "≤ 12 KiB", runs: len(per),
		ours: fmt.Sprintf("%.1f KiB", median(per)/1024), rival: fmt.Sprintf("engine with none: %s, with 10,000: %s", mib(median(empty)), mib(median(full))),
		hit: judge(median(per) <= 12<<10),
	})
	return nil
}

func (b *bench) restingWith(ctx context.Context, name string, machines int) (float64, error) {
	e, err := b.newEngine(name)
	if err != nil {
		return 0, err
	}
	defer e.end()
	if machines > 0 {
		if _, err := writeHistory(e.home, machines, 0); err != nil {
			return 0, err
		}
	}
	if _, _, err := e.start(ctx); err != nil {
		return 0, err
	}
	return e.resting(ctx)
}

// keepMemory tells what an engine with a long history weighs.
func (b *bench) keepMemory(ctx context.Context, e *engine, records uint64) error {
	bytes, err := e.resting(ctx)
	if err != nil {
		return err
	}
	b.out.add(row{
		what: fmt.Sprintf("the same engine at rest, 10,000 machines that have run, %.2f M records", float64(records)/1e6),
		ours: mib(bytes), runs: 1,
	})
	return nil
}

// rest measures an engine and a VM host that have nothing to do.
func (b *bench) rest(ctx context.Context) error {
	e, err := b.newEngine("rest")
	if err != nil {
		return err
	}
	defer e.end()
	if _, _, err := e.start(ctx); err != nil {
		return err
	}
	_ = e.Close() // a client's keepalive is not the engine's
	e.Client = nil
	defer func() { _ = e.connect(ctx) }() // so that end can ask
	if err := pause(ctx, settleTime); err != nil {
		return err
	}
	bytes, err := residentBytes(e.pid())
	if err != nil {
		return err
	}
	b.out.add(row{what: "engine at rest, anonymous + file RSS", aim: "≤ 40 MiB", ours: mib(bytes), runs: 1, hit: judge(bytes <= 40<<20)})
	if err := b.wakeUps(ctx, e.pid()); err != nil {
		return err
	}
	return b.hostMemory(ctx)
}

// wakeUps holds the engine against an idle Go program, at the same time.
func (b *bench) wakeUps(ctx context.Context, engine int) error {
	idle := filepath.Join(b.tmp, "idle")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", idle, "./cmd/internal/bench/idle").CombinedOutput(); err != nil {
		return fmt.Errorf("build the idle program: %w: %s", err, out)
	}
	cmd := exec.CommandContext(ctx, idle)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("idle program: %w", err)
	}
	defer func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait() // it was told to end
	}()
	if err := pause(ctx, time.Second); err != nil {
		return err
	}
	var counts [2][2]float64
	for i := range counts {
		if i > 0 {
			if err := pause(ctx, restTime); err != nil {
				return err
			}
		}
		for k, pid := range []int{engine, cmd.Process.Pid} {
			n, err := switches(pid)
			if err != nil {
				return err
			}
			counts[i][k] = n
		}
	}
	ours, rival := (counts[1][0]-counts[0][0])/restTime.Seconds(), (counts[1][1]-counts[0][1])/restTime.Seconds()
	b.out.add(row{
		what: fmt.Sprintf("engine at rest, wake-ups in %s", restTime), aim: "≤ an idle Go program's", runs: 1,
		ours: fmt.Sprintf("%.2f/s", ours), rival: fmt.Sprintf("idle Go program: %.2f/s", rival), hit: judge(ours <= rival),
	})
	return nil
}

// hostMemory weighs the VM host of a machine that runs.
func (b *bench) hostMemory(ctx context.Context) error {
	e, err := b.newEngine("host")
	if err != nil {
		return err
	}
	defer e.end()
	if _, _, err := e.start(ctx); err != nil {
		return err
	}
	if _, err := e.do(ctx, machine(bootName, "qemu")); err != nil {
		return err
	}
	if _, err := e.do(ctx, &wire.StartMachine{Request: request(), Name: bootName}); err != nil {
		return err
	}
	if out, err := e.cli(ctx, "exec", bootName, "--", "true").CombinedOutput(); err != nil {
		return fmt.Errorf("exec: %w: %s", err, out)
	}
	if err := pause(ctx, settleTime); err != nil {
		return err
	}
	pid, err := processWith("arcbox-vmhost", e.home.Root)
	if err != nil {
		return err
	}
	bytes, err := residentBytes(pid)
	if err != nil {
		return err
	}
	b.out.add(row{
		what: "VM host beside QEMU, anonymous + file RSS", aim: "≤ 20 MiB", ours: mib(bytes), runs: 1, hit: judge(bytes <= 20<<20),
	})
	return nil
}
