package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

// removeTime bounds the wait for the end of a machine that was run: the engine
// removes it also without us.
const removeTime = 30 * time.Second

// runFlags say what is run, and in which machine.
type runFlags struct {
	spec  specFlags
	exec  execFlags
	limit limitValue
	keep  bool
	name  string // that was asked for
	id    string // of the machine, once the engine has said so
}

func newRun(a *app) *cobra.Command {
	r := runFlags{limit: limitValue(defaultStartTime)}
	cmd := &cobra.Command{
		Use:   "run IMAGE [flags] -- PROGRAM [ARG...]",
		Short: "Run a program in a new machine, and remove the machine",
		Long: "Create a machine of an image, which is pulled where it is not here, start it, run a\n" +
			"program in it as arcbox exec does, and remove the machine with all that was written\n" +
			"in it. At a terminal, without a program, it is a login shell. Only the program\n" +
			"writes to standard output; the exit code is the program's, or as that of exec.\n\n" +
			"Ctrl-C before the program runs ends all of it; then it is the program's, as with\n" +
			"exec. The machine is removed in any case: where this command is killed, the engine\n" +
			"sees that at once, and an engine that was not there does so when it starts.\n" +
			"--keep leaves the machine as it is, running.",
		Example: "  arcbox run debian:12 -- cat /etc/os-release\n  arcbox run -it alpine\n  arcbox run docker.io/library/alpine --memory 512M -e MODE=test -- ./check <input",
		Args: func(cmd *cobra.Command, args []string) error {
			return r.take(cmd, args)
		},
		ValidArgsFunction: a.completeImages(1),
	}
	r.spec.add(a, cmd)
	r.exec.add(cmd)
	f := cmd.Flags()
	f.BoolVarP(&r.exec.interactive, "interactive", "i", false, "pass on standard input (the default)")
	f.BoolVarP(&r.exec.noStdin, "no-stdin", "n", false, "pass on no standard input")
	f.BoolVarP(&r.exec.tty, "tty", "t", false, "give the program a terminal, joined to this one")
	f.Var(&r.exec.timeout, "timeout", "kill the program after so long (default: never)")
	f.StringVar(&r.name, "name", "", "name of the machine (default: one that is free)")
	f.BoolVar(&r.keep, "keep", false, "leave the machine as it is when the program has ended")
	addStartTimeout(cmd, &r.limit, "start-timeout")
	oneOf(cmd, "interactive", "no-stdin")
	oneOf(cmd, "tty", "no-stdin")
	for _, name := range append([]string{"image", "restart"}, provisionNames...) { // the argument, and of no use
		if err := f.MarkHidden(name); err != nil {
			panic(err) // it was added above
		}
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		a.ran = true
		return a.runOnce(cmd, &r)
	}
	return cmd
}

// take takes the command line apart: [flags] IMAGE [flags] [--] [PROGRAM ARG…]
func (r *runFlags) take(cmd *cobra.Command, args []string) error {
	if len(args) == 0 || cmd.ArgsLenAtDash() == 0 {
		return badInput("image", "run: the reference of an image is missing")
	}
	image, argv := args[0], args[1:]
	if len(argv) > 0 && strings.HasPrefix(argv[0], "-") && cmd.ArgsLenAtDash() != 1 {
		if err := cmd.ParseFlags(argv); err != nil {
			return err
		}
		argv = cmd.Flags().Args()
	}
	if slices.ContainsFunc(provisionNames, cmd.Flags().Changed) {
		return badInput("provision", "run: the program is all that is run; arcbox up --provision sets a machine up")
	}
	if cmd.Flags().Changed("image") || cmd.Flags().Changed("restart") {
		return badInput("image", "run: the image is the first argument, and a machine that is run once has no --restart")
	}
	if len(argv) > 0 && argv[0] == "" {
		return badInput("argv", "run: the program to run has no name")
	}
	r.spec.image, r.exec.argv = image, argv
	if r.name != "" {
		return checkName(r.name)
	}
	return nil
}

// runOnce is the whole of it. Whatever ends it, the machine goes too.
func (a *app) runOnce(cmd *cobra.Command, r *runFlags) error {
	if len(r.exec.argv) == 0 {
		if _, err := a.terminal(); err != nil {
			return badInput("argv", "run: the program to run is missing: arcbox run %s -- PROGRAM", shorten(printable(r.spec.image), 80))
		}
		r.exec.login, r.exec.tty = true, true
	}
	spec, err := r.spec.spec(cmd)
	if err != nil {
		return err
	}
	if !r.keep {
		o, err := a.own(cmd.Context())
		if err != nil {
			return err
		}
		defer o.release()
		spec.Owner = o.name
	}
	err = a.raiseNew(cmd.Context(), r, spec)
	if err == nil {
		err = a.execute1(cmd.Context(), &r.exec)
	}
	if removeErr := a.removeRun(cmd.Context(), r); removeErr != nil {
		a.printFailure(understood(removeErr)) // the code is the program's
	}
	return err
}

// raiseNew creates the machine and starts it. Ctrl-C ends that.
func (a *app) raiseNew(ctx context.Context, r *runFlags, spec *wire.Spec) error {
	ctx, done := a.interruptible(ctx)
	defer done()
	if err := r.spec.into(ctx, a, spec); err != nil {
		return err
	}
	e, err := a.engine(ctx)
	if err != nil {
		return err
	}
	defer e.Close()
	if err := a.createRun(ctx, e, r, spec); err != nil {
		return err
	}
	stop := a.progress(ctx, e, "starting", []string{r.exec.name})
	defer stop()
	_, err = a.starting(time.Duration(r.limit), untilBooted).do(ctx, e, r.exec.name)
	return err
}

// nameTries is how many names are tried: one that is taken already is rare.
const nameTries = 5

// createRun creates the machine. One of which the engine has not said that it is
// ours is not removed by its name, which may be another's: its owner's end does it.
func (a *app) createRun(ctx context.Context, e engine, r *runFlags, spec *wire.Spec) error {
	for try := 1; ; try++ {
		name := r.name
		if name == "" {
			name = newName()
		}
		done, err := a.create(ctx, e, name, spec)
		if err == nil {
			r.exec.name, r.id = name, done.GetMachine().GetId()
			return nil
		}
		if r.name != "" || try == nameTries || !refusedAs(err, wire.Code_CODE_CONFLICT) {
			return err
		}
	}
}

// removeRun removes the machine. Whoever does not want to wait for that presses
// Ctrl-C, and the engine does it.
func (a *app) removeRun(ctx context.Context, r *runFlags) error {
	name := r.exec.name
	if r.id == "" {
		return nil
	}
	if r.keep {
		a.note("%s is kept: arcbox shell %s, arcbox rm -f %s", name, name, name)
		return nil
	}
	ctx, done := a.interruptible(ctx)
	defer done()
	ctx, cancel := context.WithTimeout(ctx, removeTime)
	defer cancel()
	e, err := a.engine(ctx)
	if err == nil {
		defer e.Close()
		_, err = command(ctx, e, &wire.RemoveMachine{Request: request(), Name: r.id, Force: true})
	}
	if err == nil || refusedAs(err, wire.Code_CODE_NOT_FOUND) {
		return nil
	}
	return &failure{
		code: exitGeneral, kind: "not-removed", machine: name, hint: "arcbox list", cause: err,
		message: fmt.Sprintf("%s is not removed yet, the engine will do it: %v", name, err),
	}
}
