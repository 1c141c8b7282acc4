package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

func newCreate(a *app) *cobra.Command {
	var s specFlags
	cmd := &cobra.Command{
		Use:   "create [NAME]",
		Short: "Create a machine",
		Long: "Create a machine, without starting it; \"" + defaultName + "\" where none is named. Its name is\n" +
			"free again once it is removed; upper and lower case are the same name.",
		Example: "  arcbox create web --cpus 2 --memory 2G\n  arcbox create ci --restart on-failure\n" +
			"  arcbox create db --block /dev/disk/by-id/usb-big --block pets.img:ro",
		Args: named(0, 1),
	}
	s.add(a, cmd)
	cmd.RunE = a.verb(func(ctx context.Context, cmd *cobra.Command, args []string) error {
		spec, err := s.spec(cmd)
		if err != nil {
			return err
		}
		return a.change(ctx, []string{nameOf(args)}, change{doing: "creating", do: func(ctx context.Context, e engine, name string) (*wire.Done, error) {
			return command(ctx, e, &wire.CreateMachine{Request: request(), Name: name, Spec: spec})
		}})
	})
	return cmd
}
