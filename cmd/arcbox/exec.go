package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/arcboxlabs/arcbox-engine/guest"
)

// execFlags say how a program is run.
type execFlags struct {
	env     []string
	dir     string
	user    string
	timeout time.Duration
}

func newExec(a *app) *cobra.Command {
	var f execFlags
	cmd := &cobra.Command{
		Use:   "exec NAME -- PROGRAM [ARGUMENT...]",
		Short: "Run a program in a machine",
		Long: "Run a program in a running machine, with this command's standard input, output and\n" +
			"error. Ctrl-C goes to the program. The exit status is the program's; 128+n where a\n" +
			"signal ended it, 124 where the time limit did, 126 or 127 where it can't be run, 125\n" +
			"where arcbox itself failed.",
		Example:           "  arcbox exec web -- uname -a\n  arcbox exec web -w /srv -e DEBUG=1 -- sh -c 'ls; exit 7'",
		Args:              execArgs,
		ValidArgsFunction: a.completeNames(1),
	}
	cmd.Flags().StringArrayVarP(&f.env, "env", "e", nil, "NAME=VALUE for the program; again for more")
	cmd.Flags().StringVarP(&f.dir, "workdir", "w", "", "its working directory (default: the user's home)")
	cmd.Flags().StringVarP(&f.user, "user", "u", "", "name, uid, name:group or uid:gid (default: root)")
	cmd.Flags().DurationVar(&f.timeout, "timeout", 0, "kill it after this long (default: never)")
	cmd.Flags().SetInterspersed(false)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		a.ran = true
		return a.runExec(cmd.Context(), args[0], args[1:], f)
	}
	return cmd
}

func execArgs(cmd *cobra.Command, args []string) error {
	if len(args) < 2 {
		return badInput("", "%s wants a name and a program: arcbox exec NAME -- PROGRAM", cmd.CommandPath())
	}
	return checkName(args[0])
}

// runExec runs it. Signals go to the guest from the first moment on.
func (a *app) runExec(ctx context.Context, name string, argv []string, f execFlags) error {
	env, err := environment(f.env)
	if err != nil {
		return err
	}
	signals, stop := a.signals(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	defer stop()
	e, err := a.engine(ctx)
	if err != nil {
		return err
	}
	defer e.Close()
	reach, cancel := context.WithTimeoutCause(ctx, askTime, errSilent(name))
	defer cancel()
	c, err := a.guest(reach, e, name)
	if err != nil {
		if reach.Err() != nil {
			return context.Cause(reach)
		}
		return err
	}
	defer c.Close() //nolint:errcheck // done with it
	result, err := c.Exec(ctx, guest.ExecSpec{
		Argv: argv, Env: env, Dir: f.dir, User: f.user, Timeout: f.timeout,
		Stdin: a.stdin, Stdout: a.stdout, Stderr: a.stderr, Signals: signals,
	})
	if errors.Is(err, guest.ErrNotRun) {
		fmt.Fprintf(a.stderr, "arcbox: %s\n", printable(err.Error()))
		return exitWith(result.Status)
	}
	if err != nil {
		return err
	}
	return execResult(result)
}

// execResult is the guest's status as this command's.
func execResult(r guest.ExecResult) error {
	switch {
	case r.TimedOut:
		return exitWith(exitTimeLimit)
	case r.Signal != 0:
		return exitWith(128 + r.Signal)
	case r.Status != 0:
		return exitWith(r.Status)
	}
	return nil
}

func environment(list []string) (map[string]string, error) {
	env := map[string]string{}
	for _, v := range list {
		name, value, ok := strings.Cut(v, "=")
		if !ok || name == "" {
			return nil, badInput("env", "env %q: NAME=VALUE", shorten(v, 80))
		}
		env[name] = value
	}
	return env, nil
}
