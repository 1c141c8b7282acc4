package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/arcboxlabs/arcbox-engine/actors/client"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/guest"
	"github.com/arcboxlabs/arcbox-engine/guest/kernel"
)

// What a probe's machine is, and how long its guest naps to show that its timers
// run: a kernel that took the pace of its clock wrong comes up and then sleeps on.
const (
	probeMemory = 512 * mib
	probeCPUs   = 2
	napTime     = 200 * time.Millisecond
	napLimit    = 10 * time.Second
)

// prober boots a kernel again and again.
type prober struct {
	app     *app
	engine  engine
	kernel  string
	count   int
	cpus    int
	limit   time.Duration
	nap     func(ctx context.Context, name string) error
	release string
	accel   string
}

func newKernelProbe(a *app) *cobra.Command {
	p := prober{app: a}
	limit, only := limitValue(defaultStartTime), ""
	cmd := &cobra.Command{
		Use:   "probe NAME",
		Short: "Boot a kernel many times, and keep what that shows",
		Long: "Boot a kernel many times in a machine of its own, as a q35 and as a microvm, and\n" +
			fmt.Sprintf("keep in its manifest how many hung and how long they took. A microvm that came up\n%d times of %d is what machines are built as, under the accelerator", kernel.Enough, kernel.Enough) + "\n" +
			"of the probe, that name no --machine. A boot has come up when the agent answers and\n" +
			"a short sleep in the guest ends in time. Nothing else should run meanwhile. Ctrl-C\n" +
			"ends it and keeps nothing of the board that is being tried.",
		Example:           "  arcbox kernel probe 6.1.0-arcbox\n  arcbox kernel probe " + kernel.Default + " --machine microvm --boots 20",
		Args:              kernelArgs("the name of a kernel"),
		ValidArgsFunction: a.completeKernels,
	}
	f := cmd.Flags()
	f.IntVar(&p.count, "boots", kernel.Enough, "how many boots of each")
	f.IntVar(&p.cpus, "cpus", min(probeCPUs, runtime.NumCPU()), "virtual CPUs of the machine")
	f.StringVar(&only, "machine", "", "q35 or microvm (default: first one, then the other)")
	f.Var(&limit, "timeout", "time that one boot may take")
	a.complete(cmd, "machine", kernel.Boards...)
	cmd.RunE = a.kernelVerb(func(ctx context.Context, s *kernel.Store, args []string) error {
		boards := kernel.Boards
		if only != "" {
			boards = []string{only}
		}
		if p.count < 1 || p.count > 100000 {
			return badInput("boots", "--boots %d: 1 to 100000", p.count)
		}
		if only != "" && only != "q35" && only != "microvm" {
			return badInput("machine", "--machine %q: q35 or microvm", shorten(only, 80))
		}
		if args[0] != kernel.Default {
			if _, err := s.Find(args[0]); err != nil {
				return err
			}
		}
		e, err := a.engine(ctx)
		if err != nil {
			return err
		}
		defer e.Close()
		p.engine, p.kernel, p.limit = e, args[0], time.Duration(limit)
		p.nap = p.napInGuest
		return p.all(ctx, s, boards)
	})
	return cmd
}

// all tries the boards, one after the other.
func (p *prober) all(ctx context.Context, s *kernel.Store, boards []string) error {
	shown := []kernel.Boots{}
	for _, board := range boards {
		b, err := p.board(ctx, board)
		if err != nil {
			return err
		}
		if err := s.Record(ctx, p.kernel, p.release, b); err != nil {
			return err
		}
		shown = append(shown, b)
		if !p.app.json() {
			if _, err := fmt.Fprintf(p.app.stdout, "%s %s: %d of %d came up; median %d ms, 99 %% within %d ms, the slowest %d ms\n",
				p.kernel, b.Board, b.Count-b.Hung, b.Count, b.Median, b.P99, b.Max); err != nil {
				return err
			}
		}
	}
	if p.app.json() {
		return p.app.printJSON(shown)
	}
	return nil
}

// board boots the kernel on one board.
func (p *prober) board(ctx context.Context, board string) (b kernel.Boots, err error) {
	name := "kernel-probe-" + uuid.NewString()[:8]
	if _, err := command(ctx, p.engine, &wire.CreateMachine{Request: request(), Name: name, Spec: &wire.Spec{
		Cpus: uint32(p.cpus), Memory: int64(probeMemory), Kernel: p.kernel, Backend: "qemu", Board: board, //nolint:gosec // the engine checks it
	}}); err != nil {
		return b, err
	}
	defer func() {
		after, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTime)
		defer cancel()
		_, goneErr := command(after, p.engine, &wire.RemoveMachine{Request: request(), Name: name, Force: true})
		if err == nil {
			err = goneErr
		}
	}()
	var times []time.Duration
	hung := 0
	for i := range p.count {
		took, why, err := p.once(ctx, name)
		if err != nil {
			return b, err
		}
		if why != nil {
			hung++
			p.app.note("%s: boot %d of %d did not come up: %v", board, i+1, p.count, why)
		} else {
			times = append(times, took)
		}
		if n := i + 1; n%10 == 0 && n < p.count {
			p.app.note("%s: %d of %d boots, %d hung", board, n, p.count, hung)
		}
	}
	b = kernel.Took(times, hung)
	b.Board, b.Accel, b.CPUs, b.With, b.Made = board, p.accel, p.cpus, "arcbox "+buildVersion(), p.app.now().UTC()
	if p.accel == "" {
		return b, &failure{
			code: exitGeneral, kind: "failed", hint: "arcbox logs " + name,
			message: fmt.Sprintf("no boot of %s as %s came up", p.kernel, board),
		}
	}
	return b, nil
}

// once boots once. why is set where it did not come up; an error ends the probe.
func (p *prober) once(ctx context.Context, name string) (took time.Duration, why, err error) {
	began := time.Now()
	done, err := command(ctx, p.engine, &wire.StartMachine{Request: request(), Name: name, TimeoutNanos: int64(p.limit)})
	took = time.Since(began)
	if ctx.Err() != nil {
		return 0, nil, err
	}
	if r, refused := errors.AsType[*client.RefusedError](err); refused && (r.Code == wire.Code_CODE_TIMEOUT || r.Code == wire.Code_CODE_FAILED) {
		return 0, r, nil
	}
	if err != nil {
		return 0, nil, err
	}
	p.release, p.accel = done.GetMachine().GetKernelRelease(), done.GetMachine().GetAccel()
	if err := p.nap(ctx, name); err != nil {
		if ctx.Err() != nil {
			return 0, nil, err
		}
		why = fmt.Errorf("a sleep of %s in it: %w", napTime, err)
	}
	if took > p.limit/2 {
		why = fmt.Errorf("it took %s: after half of the %s allowed the engine gives a machine another VM", took.Round(time.Millisecond), p.limit)
	}
	_, err = command(ctx, p.engine, &wire.StopMachine{Request: request(), Name: name, Kill: true})
	return took, why, err
}

// napInGuest sleeps in the guest.
func (p *prober) napInGuest(ctx context.Context, name string) error {
	ctx, cancel := withAgentTime(ctx, name, napLimit)
	defer cancel()
	c, err := p.app.guest(ctx, p.engine, name)
	if err != nil {
		return orCause(ctx, err)
	}
	defer c.Close() //nolint:errcheck // done with it
	r, err := c.Exec(ctx, guest.ExecSpec{Argv: []string{"sleep", fmt.Sprint(napTime.Seconds())}})
	if err == nil && (r.Status != 0 || r.Signal != 0) {
		err = fmt.Errorf("it ended with %d, signal %d", r.Status, r.Signal)
	}
	return orCause(ctx, err)
}
