package main

import (
	"context"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

func newPause(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "pause [NAME...]",
		Short: "Hold machines still, with all that is in their memory",
		Long: "Hold the guests of machines (the default one where none is named) still, and wait until each is. A\n" +
			"machine stays Running, with the health paused, and costs its memory and no processor\n" +
			"time, until arcbox resume: also over an engine's end. Its guest answers nobody:\n" +
			"exec, shell, cp, ssh and ping are refused, and what is connected to it waits.\n" +
			"arcbox stop has it go on, and shut down; stop --kill and rm -f end it as it is. A\n" +
			"machine that does not run is refused (exit 4), one that is paused is no error.",
		Example: "  arcbox pause web\n  arcbox list --filter health=paused",
	}
	return a.turning(cmd, change{doing: "pausing"}, func(name string) proto.Message {
		return &wire.PauseMachine{Request: request(), Name: name}
	})
}

func newResume(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "resume [NAME...]",
		Short: "Let machines go on that were paused",
		Long: "Let the guests of machines (the default one where none is named) go on where arcbox pause held\n" +
			"them, and wait until each one's agent was asked: a guest that does not answer is told of,\n" +
			"and is in arcbox list. A clock that fell behind gets the host's time. So goes on what its\n" +
			"hypervisor paused, as QEMU does where the host's disk is full. A machine that was not\n" +
			"paused is no error, one that does not run is refused (exit 4).",
		Example: "  arcbox resume web\n  arcbox resume --all",
	}
	return a.turning(cmd, change{doing: "resuming", until: "agent"}, func(name string) proto.Message {
		return &wire.ResumeMachine{Request: request(), Name: name}
	})
}

// turning makes a command of a request that holds machines still, or lets them go on.
func (a *app) turning(cmd *cobra.Command, c change, ask func(name string) proto.Message) *cobra.Command {
	chosen := a.machinesFlag(cmd, 0)
	c.do = func(ctx context.Context, e engine, name string) (*wire.Done, error) {
		return command(ctx, e, ask(name))
	}
	cmd.RunE = a.verb(func(ctx context.Context, _ *cobra.Command, args []string) error {
		return a.change(ctx, chosen(args), c)
	})
	return cmd
}
