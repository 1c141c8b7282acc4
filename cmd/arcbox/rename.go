package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

func newRename(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "rename NAME NEW",
		Short: "Give a machine another name",
		Long: "Give a machine that does not run another name. Its id, disk, address, ports, labels and\n" +
			"history stay; arcbox journal and why find it by either name. The guest has its new host\n" +
			"name, and the network NEW.arcbox.internal, from its next start on; a host name that was\n" +
			"changed inside stays. A machine that runs is refused (exit 4), as is a name that another\n" +
			"has. Where it was chosen by arcbox default, it stays chosen.",
		Example:           "  arcbox rename web shop\n  arcbox stop web && arcbox rename web shop && arcbox start shop",
		Args:              named(2, 2),
		ValidArgsFunction: a.completeNames(1),
		RunE: a.verb(func(ctx context.Context, _ *cobra.Command, args []string) error {
			return a.rename(ctx, args[0], args[1])
		}),
	}
}

func (a *app) rename(ctx context.Context, name, to string) error {
	err := a.change(ctx, one(name, nil), change{doing: "renaming", do: func(ctx context.Context, e engine, name string) (*wire.Done, error) {
		return command(ctx, e, &wire.RenameMachine{Request: request(), Name: name, NewName: to})
	}})
	if err != nil {
		return err
	}
	return a.renamedDefault(name, to)
}

// renamedDefault lets the default machine be the same one as before.
func (a *app) renamedDefault(name, to string) error {
	d, err := a.readDefault()
	if err != nil {
		return err
	}
	p, err := a.choice()
	switch {
	case err != nil:
		return err
	case !strings.EqualFold(d.Name, name) || strings.EqualFold(name, to):
		return nil
	case !d.Chosen && p.remote != nil:
		return nil
	case !d.Chosen:
		a.note("no machine is called %s any more: arcbox default %s makes it the one of commands that name none", name, to)
		return nil
	}
	file, err := a.defaultFile()
	if err == nil {
		err = keepDefault(file, to)
	}
	if err != nil {
		return fmt.Errorf("renamed, but it is no longer the default machine: %w", err)
	}
	a.note("%s is the default machine", to)
	return nil
}
