package main

import (
	"context"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

func newSet(a *app) *cobra.Command {
	var s sizeFlags
	cmd := &cobra.Command{
		Use:   "set [NAME...]",
		Short: "Change what machines are to be",
		Long: "Change what machines (the default one where none is named) are to be. What a machine that runs\n" +
			"can't take over counts from its next start on: that is said, and arcbox inspect\n" +
			"shows both. Nothing is interrupted, but for --egress: it holds at once, and what the\n" +
			"machine has open ends, to be opened anew where the new policy lets it.",
		Example: "  arcbox set web --auto-ports\n  arcbox set web --memory 2G\n  arcbox set web db --cpus 4 && arcbox restart web db\n  arcbox set web --disk 80G\n  arcbox set web --label tier=front --unlabel old\n" +
			"  arcbox set web --egress deny\n  arcbox set web --egress 10.0.0.0/8:443,host:3142,dns",
	}
	chosen := a.machinesFlag(cmd, 0)
	s.add(a, cmd)
	cmd.RunE = a.verb(func(ctx context.Context, cmd *cobra.Command, args []string) error {
		if err := s.check(cmd); err != nil {
			return usage(cmd, err)
		}
		return a.change(ctx, chosen(args), change{doing: "changing", do: func(ctx context.Context, e engine, name string) (*wire.Done, error) {
			set := &wire.SetMachine{Request: request(), Name: name, Cpus: uint32(s.cpus), Memory: int64(s.memory), Disk: int64(s.disk), Egress: s.egress, Labels: s.labels, RemoveLabels: s.unlabel} //nolint:gosec // checked
			if cmd.Flags().Changed("auto-ports") {
				set.AutoPorts = &s.autoPorts
			}
			return command(ctx, e, set)
		}})
	})
	return cmd
}

// sizeFlags are the flags of what can be changed.
type sizeFlags struct {
	cpus           int
	memory, disk   sizeValue
	egress         string
	label, unlabel []string
	labels         map[string]string // once checked
	autoPorts      bool
}

func (s *sizeFlags) add(a *app, cmd *cobra.Command) {
	cmd.Flags().IntVar(&s.cpus, "cpus", 0, "virtual CPUs")
	cmd.Flags().Var(&s.memory, "memory", "memory: a bare number is MiB; K, M, G, T are binary")
	cmd.Flags().Var(&s.disk, "disk", "size of the machine's own disk, which can only grow")
	cmd.Flags().StringVar(&s.egress, "egress", "", egressUsage)
	a.complete(cmd, "egress", egressWords...)
	cmd.Flags().BoolVar(&s.autoPorts, "auto-ports", false, autoPortsUsage+"; =false ends it")
	cmd.Flags().StringArrayVar(&s.label, "label", nil, "set a label: KEY or KEY=VALUE; again for more")
	cmd.Flags().StringArrayVar(&s.unlabel, "unlabel", nil, "take a label away, by its key; again for more")
}

func (s *sizeFlags) check(cmd *cobra.Command) error {
	given := cmd.Flags().Changed("auto-ports")
	if cmd.Flags().Changed("cpus") {
		given = true
		if err := checkCPUs(s.cpus); err != nil {
			return err
		}
	}
	if cmd.Flags().Changed("memory") {
		given = true
		if err := checkMemory(s.memory); err != nil {
			return err
		}
	}
	if cmd.Flags().Changed("disk") {
		given = true
		if err := checkDisk(s.disk); err != nil {
			return err
		}
	}
	if cmd.Flags().Changed("egress") {
		given = true
		if s.egress == "" {
			return badInput("egress", "--egress \"\": allow, deny, or CIDR[:PORT], host[:PORT] and dns, by comma")
		}
	}
	if !given && len(s.label)+len(s.unlabel) == 0 {
		return badInput("", "%s: nothing to change: --cpus, --memory, --disk, --egress, --auto-ports, --label or --unlabel is needed", cmd.CommandPath())
	}
	var err error
	s.labels, err = parseLabels(s.label)
	return err
}

func checkCPUs(cpus int) error {
	const most = 4096
	if cpus < 1 || cpus > most {
		return badInput("cpus", "--cpus %d: at least 1, at most the cores of the host (%d)", cpus, runtime.NumCPU())
	}
	return nil
}

func checkMemory(memory sizeValue) error {
	if memory < minMemory {
		return badInput("memory", "--memory %s: at least 64M, at most the memory of the host; a bare number is MiB", memory.String())
	}
	return nil
}

func checkDisk(disk sizeValue) error {
	if disk < minDisk || disk > maxDisk || disk%mib != 0 {
		return badInput("disk", "--disk %s: 256M to 8T, whole MiB; a bare number is MiB", disk.String())
	}
	return nil
}
