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
	// enoughTime is the processor time with which any kernel comes up: one that had
	// it hangs, however busy the host is.
	enoughTime = 10 * time.Second
)

// prober boots a kernel again and again.
type prober struct {
	app    *app
	engine engine
	kernel string
	count  int
	cpus   int
	limit  time.Duration
	nap    func(ctx context.Context, name string) error
	time   func(id string) (ran, waited time.Duration, err error) // of the machine's processors
	tried  kernel.Progress
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
			"a short sleep in the guest ends in time. One to which a busy host gave no processor\n" +
			"time says nothing and is made again. What is stopped, or killed, goes on where it\n" +
			"was when it is called again.",
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
		p.nap, p.time = p.napInGuest, processorTime
		return p.all(ctx, s, boards)
	})
	return cmd
}

// all tries the boards, one after the other.
func (p *prober) all(ctx context.Context, s *kernel.Store, boards []string) error {
	shown := []kernel.Boots{}
	for _, board := range boards {
		b, err := p.board(ctx, s, board)
		if err != nil {
			return err
		}
		if err := s.Record(ctx, p.kernel, p.tried.Release, b); err != nil {
			return err
		}
		if err := s.KeepProgress(ctx, p.kernel, board, kernel.Progress{}); err != nil {
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
func (p *prober) board(ctx context.Context, s *kernel.Store, board string) (b kernel.Boots, err error) {
	name := "kernel-probe-" + uuid.NewString()[:8]
	done, err := command(ctx, p.engine, &wire.CreateMachine{Request: request(), Name: name, Spec: &wire.Spec{
		Cpus: uint32(p.cpus), Memory: int64(probeMemory), Kernel: p.kernel, Backend: "qemu", Board: board, //nolint:gosec // the engine checks it
	}})
	if err != nil {
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
	if err := p.boots(ctx, s, name, board, done.GetMachine().GetId()); err != nil {
		return b, err
	}
	if p.tried.Accel == "" {
		return b, &failure{
			code: exitGeneral, kind: "failed", hint: "arcbox logs " + name,
			message: fmt.Sprintf("no boot of %s as %s came up", p.kernel, board),
		}
	}
	return p.tried.Boots(board, p.app.now()), nil
}

// boots makes the boots that are missing, and keeps what each shows.
func (p *prober) boots(ctx context.Context, s *kernel.Store, name, board, id string) error {
	fresh := kernel.Progress{CPUs: p.cpus, With: "arcbox " + buildVersion()}
	p.tried = s.Progress(p.kernel, board)
	if p.tried.CPUs != fresh.CPUs || p.tried.With != fresh.With {
		p.tried = fresh
	}
	if n := p.tried.Count(); n > 0 {
		p.app.note("%s: going on after %d boots, %d of which did not come up", board, n, p.tried.Hung)
	}
	starved := 0
	for p.tried.Count() < p.count {
		r, err := p.once(ctx, name, id)
		if err != nil {
			return err
		}
		if r.starved && starved < p.count {
			starved++
			p.app.note("%s: a boot is made again: %v, but this host gave it %s of processor time and let it wait for %s", board, r.why, r.ran, r.waited)
			continue
		}
		if r.release != "" && p.tried.Release != "" && r.release != p.tried.Release {
			p.app.note("%s: the kernel is another by now, %s: from the beginning", board, r.release)
			p.tried = fresh
		}
		p.add(r)
		n := p.tried.Count()
		if r.why != nil {
			p.app.note("%s: boot %d of %d did not come up: %v", board, n, p.count, r.why)
		}
		if n%10 == 0 && n < p.count {
			p.app.note("%s: %d of %d boots, %d hung", board, n, p.count, p.tried.Hung)
		}
		if err := s.KeepProgress(ctx, p.kernel, board, p.tried); err != nil {
			return err
		}
	}
	return nil
}

// add counts one boot.
func (p *prober) add(r bootResult) {
	if r.release != "" {
		p.tried.Release, p.tried.Accel = r.release, r.accel
	}
	switch {
	case r.why == nil:
		p.tried.Times = append(p.tried.Times, r.took)
	case r.panicked:
		p.tried.Panicked++
		fallthrough
	default:
		p.tried.Hung++
	}
}

// bootResult is what one boot showed.
type bootResult struct {
	took           time.Duration
	release, accel string
	why            error // that it did not come up
	panicked       bool
	starved        bool // it says nothing: the host had no time for it
	ran, waited    time.Duration
}

// once boots once. An error ends the probe.
func (p *prober) once(ctx context.Context, name, id string) (r bootResult, err error) {
	began := time.Now()
	// Shortly before the engine gives up on this VM and tries another.
	sampled := make(chan struct{})
	timer := time.AfterFunc(p.limit*9/20, func() {
		defer close(sampled)
		var timeErr error
		r.ran, r.waited, timeErr = p.time(id)
		r.starved = timeErr == nil && r.waited > p.limit/4 && r.ran < enoughTime
	})
	done, startErr := command(ctx, p.engine, &wire.StartMachine{Request: request(), Name: name, TimeoutNanos: int64(p.limit)})
	if !timer.Stop() {
		<-sampled
	}
	r.took = time.Since(began)
	if ctx.Err() != nil {
		return r, startErr
	}
	if refused, ok := errors.AsType[*client.RefusedError](startErr); ok && (refused.Code == wire.Code_CODE_TIMEOUT || refused.Code == wire.Code_CODE_FAILED) {
		r.why = refused
		m, err := ask[*wire.Machine](ctx, p.engine, &wire.InspectMachine{Name: name})
		r.panicked = m.GetCause() == "guest-panic"
		return r, err
	}
	if startErr != nil {
		return r, startErr
	}
	r.release, r.accel = done.GetMachine().GetKernelRelease(), done.GetMachine().GetAccel()
	if err := p.nap(ctx, name); err != nil {
		if ctx.Err() != nil {
			return r, err
		}
		r.why = fmt.Errorf("a sleep of %s in it: %w", napTime, err)
	}
	if r.took > p.limit/2 {
		r.why = fmt.Errorf("it took %s: after half of the %s allowed the engine gives a machine another VM", r.took.Round(time.Millisecond), p.limit)
	}
	_, err = command(ctx, p.engine, &wire.StopMachine{Request: request(), Name: name, Kill: true})
	return r, err
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
