package main

import (
	"context"
	"slices"

	"github.com/spf13/cobra"
)

func newShell(a *app) *cobra.Command {
	x := execFlags{login: true}
	var start bool
	cmd := &cobra.Command{
		Use:        "shell [NAME] [flags] [-- PROGRAM [ARG...]]",
		SuggestFor: []string{"console", "attach", "enter", "login"},
		Short:      "Open a shell in a machine",
		Long: "Open the login shell of a user in a machine (the default one where none is named), in the\n" +
			"user's home, or have that shell run a program, whose arguments it takes as they are.\n" +
			"Where standard input and output are a terminal, the shell has one too, as with\n" +
			"arcbox exec -t; else the streams are joined as they are.\n\n" +
			"A machine that does not run is started first where a person asks, at a terminal;\n" +
			"a script says --start, or is refused.\n\n" +
			"The exit code is the shell's, or as that of arcbox exec.",
		Example: "  arcbox shell\n  arcbox shell web -u www-data\n  arcbox shell web -w /srv -- make test\n  arcbox shell --start web <script.sh",
		Args: func(cmd *cobra.Command, args []string) (err error) {
			if len(args) == 0 || cmd.ArgsLenAtDash() == 0 {
				x.argv = args
				return nil
			}
			x.name, x.argv, err = execArgs(cmd, args)
			return err
		},
		ValidArgsFunction: a.completeNames(1),
	}
	x.add(cmd)
	cmd.Flags().BoolVar(&start, "start", false, "start a machine that does not run (default: only at a terminal)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		a.ran = true
		if x.name == "" {
			name, err := a.defaultMachine()
			if err != nil {
				return err
			}
			x.name = name
		}
		_, err := a.terminal()
		x.tty = err == nil
		if !cmd.Flags().Changed("start") {
			start = x.tty
		}
		if start {
			if err := a.raise(cmd.Context(), x.name); err != nil {
				return err
			}
		}
		return a.execute1(cmd.Context(), &x)
	}
	return cmd
}

// raise starts a machine that does not run. Ctrl-C ends the wait only.
func (a *app) raise(ctx context.Context, name string) error {
	ctx, done := a.interruptible(ctx)
	defer done()
	e, m, err := a.machine(ctx, name)
	if err != nil {
		return err
	}
	defer e.Close()
	if !slices.Contains([]string{"Created", "Stopped", "Starting"}, m.GetState()) {
		return nil
	}
	c := a.starting(defaultStartTime, untilRunning)
	stop := a.progress(ctx, e, c.doing, []string{name})
	defer stop()
	if _, err := c.do(ctx, e, name); err != nil {
		return c.detached([]string{name}, err)
	}
	stop()
	a.note("%s was %s: it is started", name, m.GetState())
	return nil
}
