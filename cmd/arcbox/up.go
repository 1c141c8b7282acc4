package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/arcboxlabs/arcbox-engine/actors/client"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

func newUp(a *app) *cobra.Command {
	var s specFlags
	limit := limitValue(defaultStartTime)
	cmd := &cobra.Command{
		Use:   "up [NAME]",
		Short: "Create a machine if it is missing, and start it",
		Long: "Make sure that a machine (the default one where none is named) is there and is Running, and that\n" +
			"the init of its image is ready, and its set-up done: exit 1 where that failed. The\n" +
			"flags of create count only where it is created now. A second up is harmless. Ctrl-C\n" +
			"detaches: the engine goes on.",
		Example:           "  arcbox up web --image debian:12\n  arcbox up web --memory 1G\n  arcbox up -f machine.yaml\n  arcbox up web --image debian:12 --provision set-up.sh",
		Args:              named(0, 1),
		ValidArgsFunction: a.completeNames(1),
	}
	s.add(a, cmd)
	addStartTimeout(cmd, &limit, "timeout")
	cmd.RunE = a.verb(func(ctx context.Context, cmd *cobra.Command, args []string) error {
		spec, err := s.spec(cmd)
		if err != nil {
			return err
		}
		c := a.starting(time.Duration(limit), untilBooted)
		start := c.do
		c.do = func(ctx context.Context, e engine, name string) (*wire.Done, error) {
			made, err := a.createMissing(ctx, e, name, spec, &s.imageFlags)
			if err != nil {
				return nil, err
			}
			if given := s.given(); !made && len(given) > 0 {
				a.note("%s is there already: %s had no effect", name, strings.Join(given, " "))
			}
			done, err := start(ctx, e, name)
			if err != nil || done.GetMachine().GetSpec().GetProvision() == nil {
				return done, err
			}
			return awaitSetUp(ctx, e, name, done.GetMachine())
		}
		return a.change(ctx, one(s.nameOf(a, args)), c)
	})
	return cmd
}

// createMissing creates a machine where there is none, and tells whether it
// did. Somebody else may do so at the same moment.
func (a *app) createMissing(ctx context.Context, e engine, name string, spec *wire.Spec, f *imageFlags) (bool, error) {
	_, err := tryAsk[*wire.Machine](ctx, e, &wire.InspectMachine{Name: name})
	if err == nil || !refusedAs(err, wire.Code_CODE_NOT_FOUND) {
		return false, err
	}
	if err := f.into(ctx, a, spec); err != nil {
		return false, err
	}
	_, err = a.create(ctx, e, name, spec)
	if refusedAs(err, wire.Code_CODE_CONFLICT) {
		return false, nil
	}
	return err == nil, err
}

func refusedAs(err error, code wire.Code) bool {
	r, ok := errors.AsType[*client.RefusedError](err)
	return ok && r.Code == code
}
