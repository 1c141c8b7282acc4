package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/arcboxlabs/arcbox-engine/guest"
)

// execFlags say how a program is run in the guest.
type execFlags struct {
	env         []string
	dir         string
	user        string
	timeout     limitValue
	interactive bool
	noStdin     bool
	tty         bool
	login       bool

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
			"background.\n\n" +
			"INT, TERM, HUP and QUIT go to the program in the guest; the third Ctrl-C within a\n" +
			"second ends arcbox itself, and with it the program.\n\n" +
			"With -t the program has a terminal of its own, as large as this one and following\n" +
			"it, and TERM from here. Every key goes to the guest, Ctrl-C and Ctrl-Z too. TERM\n" +
			"and HUP to arcbox are passed on, and two seconds later it leaves, which hangs the\n" +
			"guest's terminal up. This terminal is put back as it was.\n\n" +
			"The exit code is the program's, 128+n where signal n ended it, 126 or 127 where\n" +
			"it can't be run or was not found, 124 past --timeout, and 125 for a fault of arcbox.",
		Example: "  arcbox exec web -- uname -a\n  arcbox exec web -w /srv -e MODE=test -- ./run\n  arcbox exec -it web top\n  tar c . | arcbox exec web -- tar x -C /srv",
		Args: func(cmd *cobra.Command, args []string) (err error) {
			if x.name, x.argv, err = execArgs(cmd, args); err == nil && (len(x.argv) == 0 || x.argv[0] == "") {
				err = badInput("argv", "exec: the program to run in %s is missing", x.name)
			}
			return err
		},
		ValidArgsFunction: a.completeNames(1),
	}
	x.add(cmd)
	f := cmd.Flags()
	f.Var(&x.timeout, "timeout", "kill the program after so long (default: never)")
	f.BoolVarP(&x.interactive, "interactive", "i", false, "pass on standard input (the default)")
	f.BoolVarP(&x.noStdin, "no-stdin", "n", false, "pass on no standard input")
	f.BoolVarP(&x.tty, "tty", "t", false, "give the program a terminal, joined to this one")
	oneOf(cmd, "interactive", "no-stdin")
	oneOf(cmd, "tty", "no-stdin")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		a.ran = true
		return a.execute1(cmd.Context(), &x)
	}
	return cmd
}

// add adds the flags that exec and shell share.
func (x *execFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.SetInterspersed(false) // what follows the program is the program's
	f.StringArrayVarP(&x.env, "env", "e", nil, "KEY=VALUE for the program; KEY alone takes the value from here")
	f.StringVarP(&x.dir, "workdir", "w", "", "directory to run in (default: the user's home)")
	f.StringVarP(&x.user, "user", "u", "", "name, uid, name:group or uid:gid (default: root)")
}

// execArgs takes a command line apart: NAME [flags] [--] [PROGRAM ARG…]
func execArgs(cmd *cobra.Command, args []string) (string, []string, error) {
	if len(args) == 0 {
		return "", nil, badInput("name", "%s: the name of a machine is missing", cmd.Name())
	}
	name, argv := args[0], args[1:]
	if len(argv) > 0 && strings.HasPrefix(argv[0], "-") {
		if err := cmd.ParseFlags(argv); err != nil {
			return "", nil, err
		}
		argv = cmd.Flags().Args()
	}
	return name, argv, checkName(name)
}

func (x *execFlags) spec(a *app) (guest.ExecSpec, error) {
	spec := guest.ExecSpec{
		Argv: x.argv, Dir: x.dir, User: x.user, Timeout: time.Duration(x.timeout), Login: x.login, Env: map[string]string{},
		Stdout: a.stdout, Stderr: a.stderr,
	}
	if x.interactive || !x.noStdin {
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
	var t *terminal
	if x.tty {
		if t, err = a.terminal(); err != nil {
			return err
		}
		spec.Terminal = &guest.Terminal{}
		if term := a.env("TERM"); term != "" && spec.Env["TERM"] == "" {
			spec.Env["TERM"] = term
		}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r, stop := a.relay(t, cancel)
	defer stop()
	go r.run(ctx)
	spec.Signals = r.out
	return a.withGuest(ctx, x.name, func(ctx context.Context, c *guest.Client) error {
		close(r.attached)
		if t != nil {
			if err := t.raw(); err != nil {
				return err
			}
			defer t.restore()
			spec.Terminal.Size, spec.Terminal.Resizes = t.size(), r.resizes
		}
		return execEnd(c.Exec(ctx, spec))
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
