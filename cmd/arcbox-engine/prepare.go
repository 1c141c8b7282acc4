package main

import (
	"fmt"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/arcboxlabs/arcbox-engine/guest/boot"
)

func prepareCommand() *cobra.Command {
	var o boot.PrepareOptions
	cmd := &cobra.Command{
		Use: "prepare", Short: "Make a kernel and an initramfs ready for machines", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.Log = newLog(false)
			a, err := boot.Prepare(cmd.Context(), o)
			if err != nil {
				return err
			}
			fmt.Printf("kernel %s\ninitrd %s\n", a.Kernel, a.Initrd)
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Arch, "arch", runtime.GOARCH, "architecture of the machines: "+strings.Join(boot.Archs, " or "))
	f.StringVar(&o.KernelTree, "kernel-tree", "", "directory of unpacked kernel packages (default: fetched)")
	f.StringVar(&o.Busybox, "busybox", "", "a static busybox (default: the host's, else fetched)")
	f.StringVar(&o.Agent, "agent", "", "arcbox-agent (default: the one beside this binary)")
	f.StringVar(&o.Out, "out", "", "where to put the result (default: the user's cache)")
	return cmd
}
