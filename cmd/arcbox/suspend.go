package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

const defaultSuspendTime = 5 * time.Minute

func newSuspend(a *app) *cobra.Command {
	limit := limitValue(defaultSuspendTime)
	cmd := &cobra.Command{
		Use:        "suspend [NAME...]",
		SuggestFor: []string{"save", "managedsave", "savestate", "hibernate"},
		Short:      "Save machines with all that is in their memory, and end their VMs",
		Long: "Write the guests of machines (the default one where none is named) to files in their\n" +
			"directories, and end their VMs, which gives their memory back. arcbox start has a guest go on\n" +
			"where it was, also after the host was restarted; start --fresh boots instead and throws it\n" +
			"away. A file takes as much room as the guest has ever used of its memory. What is connected\n" +
			"to the guest is cut off: exec, shell and ssh end, and with them what they run; what the\n" +
			"guest runs itself goes on. What can't be saved, or not within --timeout, runs on as before\n" +
			"(exit 1). A machine with shares can't be, nor can one that is paused (exit 4). One that is suspended\n" +
			"already is no error.",
		Example: "  arcbox suspend web\n  arcbox start web",
	}
	chosen := a.machinesFlag(cmd, 0)
	cmd.Flags().Var(&limit, "timeout", "time for the guest to be saved")
	cmd.RunE = a.verb(func(ctx context.Context, _ *cobra.Command, args []string) error {
		return a.change(ctx, chosen(args), change{doing: "suspending", until: "stopped", do: func(ctx context.Context, e engine, name string) (*wire.Done, error) {
			return command(ctx, e, &wire.SuspendMachine{Request: request(), Name: name, TimeoutNanos: int64(limit)})
		}})
	})
	return cmd
}
