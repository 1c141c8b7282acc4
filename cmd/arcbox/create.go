package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

func newCreate(a *app) *cobra.Command {
	var s specFlags
	cmd := &cobra.Command{
		Use:        "create [NAME]",
		SuggestFor: []string{"launch", "init"},
		Short:      "Create a machine",
		Long: "Create a machine, without starting it; the default one where none is named. Its name is\n" +
			"free again once it is removed; upper and lower case are the same name. With an image\n" +
			"it is a whole system with a disk of its own; without, a kernel and a rescue userland.",
		Example: "  arcbox create web --image debian:12\n  arcbox create ci --cpus 2 --memory 2G --restart on-failure\n" +
			"  arcbox create db --block /dev/disk/by-id/usb-big --block pets.img:ro\n" +
			"  arcbox create web --image debian:12 -v .:/src -v out:/out:rw\n  arcbox create -f machine.yaml --cpus 1",
		Args: named(0, 1),
	}
	s.add(a, cmd)
	cmd.RunE = a.verb(func(ctx context.Context, cmd *cobra.Command, args []string) error {
		spec, err := s.spec(cmd)
		if err == nil {
			err = s.into(ctx, a, spec)
		}
		if err != nil {
			return err
		}
		return a.change(ctx, one(s.nameOf(a, args)), change{doing: "creating", do: func(ctx context.Context, e engine, name string) (*wire.Done, error) {
			return a.create(ctx, e, name, spec)
		}})
	})
	return cmd
}
