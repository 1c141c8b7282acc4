package main

import (
	"context"
	"errors"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/arcboxlabs/arcbox-engine/guest"
)

// execFlags say how a program is run in the guest.
type execFlags struct {
	env     []string
	dir     string
	user    string
	timeout limitValue
	noStdin bool

	name string
	argv []string
}

func newExec(a *app) *cobra.Command {
	var x execFlags
	cmd := &cobra.Command{
		Use:   "exec NAME [flags] -- PROGRAM [ARG...]",
		Short: "Run a program in a machine",
		Long: "Run a program in a machine, its streams joined to these. Standard input is always\n" +
			"passed on, also from a terminal; -n passes on none, as for a job in the\n" +
			"background. There is no terminal in the guest.\n\n" +
			"INT, TERM, HUP and QUIT go to the program in the guest; the third Ctrl-C within a\n" +
			"second ends arcbox itself, and with it the program.\n\n" +
			"The exit code is the program's, 128+n where signal n ended it, 126 or 127 where\n" +
			"it can't be run or was not found, 124 past --timeout, and 125 for a fault of arcbox.",
		Example: "  arcbox exec web -- uname -a\n  arcbox exec web -w /srv -e MODE=test -- ./run\n  tar c . | arcbox exec web -- tar x -C /srv",
		Args: func(cmd *cobra.Command, args []string) (err error) {
			x.name, x.argv, err = execArgs(cmd, args)
			return err
		},
		ValidArgsFunction: a.completeNames(1),
	}
	f := cmd.Flags()
	f.SetInterspersed(false) // what follows the program is the program's
	f.StringArrayVarP(&x.env, "env", "e", nil, "KEY=VALUE for the program; KEY alone takes the value from here")
	f.StringVarP(&x.dir, "workdir", "w", "", "directory to run in (default: the user's home)")
	f.StringVarP(&x.user, "user", "u", "", "name, uid, name:group or uid:gid (default: root)")
	f.Var(&x.timeout, "timeout", "kill the program after so long (default: never)")
	f.BoolVarP(&x.noStdin, "no-stdin", "n", false, "pass on no standard input")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		a.ran = true
		return a.execute1(cmd.Context(), &x)
	}
	return cmd
}

// execArgs takes a command line apart: NAME [flags] [--] PROGRAM ARG…
func execArgs(cmd *cobra.Command, args []string) (string, []string, error) {
	if len(args) == 0 {
		return "", nil, badInput("name", "exec: the name of a machine is missing")
	}
	name, argv := args[0], args[1:]
	if len(argv) > 0 && strings.HasPrefix(argv[0], "-") {
		if err := cmd.ParseFlags(argv); err != nil {
			return "", nil, err
		}
		argv = cmd.Flags().Args()
	}
	if err := checkName(name); err != nil {
		return "", nil, err
	}
	if len(argv) == 0 || argv[0] == "" {
		return "", nil, badInput("argv", "exec: the program to run in %s is missing", name)
	}
	return name, argv, nil
}

func (x *execFlags) spec(a *app) (guest.ExecSpec, error) {
	spec := guest.ExecSpec{
		Argv: x.argv, Dir: x.dir, User: x.user, Timeout: time.Duration(x.timeout), Env: map[string]string{},
		Stdout: a.stdout, Stderr: a.stderr,
	}
	if !x.noStdin {
		spec.Stdin = a.stdin
	}
	for _, pair := range x.env {
		key, value, given := strings.Cut(pair, "=")
		if key == "" || strings.ContainsRune(pair, 0) {
			return spec, badInput("env", "--env %q: KEY=VALUE, or KEY alone", shorten(pair, 80))
		}
		if !given {
			value = a.env(key)
		}
		spec.Env[key] = value
	}
	return spec, nil
}

// execute1 runs one program. Until it runs, Ctrl-C ends the attempt; from then
// on signals are the program's.
func (a *app) execute1(ctx context.Context, x *execFlags) error {
	spec, err := x.spec(a)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	caught, stop := a.signals(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	defer stop()
	r := relay{caught: caught, out: make(chan os.Signal, 8), attached: make(chan struct{}), cancel: cancel, now: a.now}
	go r.run(ctx)
	spec.Signals = r.out
	return a.withGuest(ctx, x.name, func(ctx context.Context, c *guest.Client) error {
		close(r.attached)
		result, err := c.Exec(ctx, spec)
		return execEnd(result, err)
	})
}

// execEnd turns the end of a program into an exit code.
func execEnd(r guest.ExecResult, err error) error {
	switch {
	case errors.Is(err, guest.ErrNotRun):
		return &failure{code: r.Status, kind: "not-run", message: err.Error(), passed: true}
	case err != nil:
		return err
	case r.TimedOut:
		return &failure{code: exitTimeLimit, kind: "timeout", message: "the program was killed: its time was over", passed: true}
	case r.Signal != 0:
		return exitWith(128 + r.Signal)
	case r.Status != 0:
		return exitWith(r.Status)
	}
	return nil
}

// relay carries signals to the guest.
type relay struct {
	caught   <-chan os.Signal
	out      chan os.Signal
	attached chan struct{} // closed when the program is about to run
	cancel   context.CancelCauseFunc
	now      func() time.Time
	last     [2]time.Time // of the last two Ctrl-C
}

func (r *relay) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case sig := <-r.caught:
			if !r.pass(sig) {
				r.cancel(errInterrupted)
				return
			}
		}
	}
}

// pass hands a signal on; false = it is meant for us.
func (r *relay) pass(sig os.Signal) bool {
	select {
	case <-r.attached:
	default:
		return false
	}
	if sig == os.Interrupt {
		now := r.now()
		if now.Sub(r.last[0]) < time.Second {
			return false
		}
		r.last = [2]time.Time{r.last[1], now}
	}
	select {
	case r.out <- sig:
	default: // eight wait already
	}
	return true
}
