package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

const defaultStartTime = 60 * time.Second

func newStart(a *app) *cobra.Command {
	limit := limitValue(defaultStartTime)
	cmd := &cobra.Command{
		Use:   "start [NAME...]",
		Short: "Start machines, and wait until they are usable",
		Long: "Start machines (\"" + defaultName + "\" where none is named) and wait until each is Running, which means\n" +
			"that its agent answers. A machine that is not there in time is stopped again, with\n" +
			"a cause. Ctrl-C detaches: the engine goes on.",
		Example:           "  arcbox start web\n  arcbox start a b c --timeout 2m",
		Args:              named(0, manyNames),
		ValidArgsFunction: a.completeNames(manyNames),
	}
	addStartTimeout(cmd, &limit, "timeout")
	cmd.RunE = a.verb(func(ctx context.Context, _ *cobra.Command, args []string) error {
		return a.change(ctx, namesOf(args), a.starting(time.Duration(limit)))
	})
	return cmd
}

func addStartTimeout(cmd *cobra.Command, limit *limitValue, name string) {
	cmd.Flags().Var(limit, name, "time from the VM's launch until the agent answers")
}

func (a *app) starting(limit time.Duration) change {
	return change{doing: "starting", until: "running", do: func(ctx context.Context, e engine, name string) (*wire.Done, error) {
		return command(ctx, e, &wire.StartMachine{Request: request(), Name: name, TimeoutNanos: int64(limit)})
	}}
}

// namesOf is the names that were given, each once, or the default machine's.
func namesOf(args []string) []string {
	if len(args) == 0 {
		return []string{defaultName}
	}
	var out []string
	seen := map[string]bool{}
	for _, name := range args {
		if key := strings.ToLower(name); !seen[key] {
			seen[key] = true
			out = append(out, name)
		}
	}
	return out
}
