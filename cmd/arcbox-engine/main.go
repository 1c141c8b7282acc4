package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	cmap "github.com/orcaman/concurrent-map"
	"github.com/spf13/cobra"

	"github.com/arcboxlabs/arcbox-engine/actors"
)

// version is set by the linker.
var version = "dev"

// One shard: an actor system makes 32,768 small maps otherwise.
func init() { cmap.SHARD_COUNT = 1 }

func main() { os.Exit(run(context.Background(), os.Args[1:])) }

func run(ctx context.Context, args []string) int {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	cmd := root()
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, "arcbox-engine:", err)
	if r, ok := errors.AsType[*actors.Refusal](err); ok {
		if r.Hint != "" {
			fmt.Fprintln(os.Stderr, "hint:", r.Hint)
		}
		return r.Code.ExitCode()
	}
	if e, ok := errors.AsType[exit](err); ok {
		return int(e)
	}
	return 1
}

const usageHint = "arcbox-engine --help"

// exit is an exit code that says it all.
type exit int

func (e exit) Error() string { return fmt.Sprintf("exit %d", int(e)) }

func root() *cobra.Command {
	s := settings{work: serveSockets}
	cmd := &cobra.Command{
		Use: "arcbox-engine", Short: "Run the engine", Version: version,
		SilenceUsage: true, SilenceErrors: true,
		Args: func(cmd *cobra.Command, args []string) error { return badUsage(cobra.NoArgs(cmd, args), usageHint) },
		RunE: func(cmd *cobra.Command, _ []string) error {
			h, err := findHome()
			if err != nil {
				return err
			}
			return serve(cmd.Context(), h, s)
		},
	}
	cmd.Flags().BoolVar(&s.allowSim, "allow-sim", false, "allow machines of the backend sim, in which nothing really runs")
	cmd.Flags().StringVar(&s.listen, "listen", "", "listen for clients of other hosts, as tcp://ADDRESS:PORT; off by default")
	cmd.Flags().BoolVar(&s.debug, "debug", false, "log more")
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return badUsage(err, cmd.CommandPath()+" --help") })
	cmd.AddCommand(prepareCommand(), journalCommand(), stopMachinesCommand())
	return cmd
}
