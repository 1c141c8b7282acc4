package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/arcboxlabs/arcbox-engine/actors/client"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

func newList(a *app) *cobra.Command {
	l := machineListing(a)
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls", "ps"},
		Short:   "List machines",
		Long: "List machines, sorted by name. Nothing is probed for it: a machine that hangs delays no\n" +
			"list, and one that is broken hides no other. HEALTH (sim) marks a machine in which\n" +
			"nothing really runs, (outdated) one whose VM host is of another version than the\n" +
			"engine, or whose agent is of another build than the one that machines get now: its next\n" +
			"start changes that. -q prints names only, --format json one array,\n" +
			"and a template a line for each, with the names of the JSON. Of filters with one key\n" +
			"any must hold, of different keys, and of labels, all.",
		Example: "  arcbox list --filter state=running --filter 'name=web*'\n  arcbox list --sort -mem --columns name,mem,image\n" +
			"  arcbox list --format '{{.name}} {{.address}}'",
		Args: noArgs,
	}
	listFlags(a, cmd, l)
	cmd.RunE = a.verb(asking(a.engine, func(ctx context.Context, e engine, _ []string) error {
		all, err := allMachines(ctx, e)
		if err != nil {
			return err
		}
		return a.printMachines(l, byName(all.GetMachines()), all.GetEngine())
	}))
	return cmd
}

// allMachines asks for all machines.
func allMachines(ctx context.Context, e engine) (*wire.Machines, error) {
	return client.List(func(m *wire.ListMachines) (*wire.Machines, error) { return ask[*wire.Machines](ctx, e, m) })
}

// machineNames are the names of all machines, in order.
func machineNames(ctx context.Context, e engine) ([]string, error) {
	all, err := allMachines(ctx, e)
	if err != nil {
		return nil, err
	}
	return namesWith(byName(all.GetMachines()), func(*wire.Spec) bool { return true }), nil
}

// machinesWith names the machines whose spec is such: the engine knows. Where there
// never was one, there are no machines.
func (a *app) machinesWith(ctx context.Context, such func(*wire.Spec) bool) ([]string, error) {
	h, err := a.home()
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(h.Journal()); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	e, err := a.engine(ctx)
	if err != nil {
		return nil, err
	}
	defer e.Close()
	all, err := allMachines(ctx, e)
	if err != nil {
		return nil, err
	}
	return namesWith(all.GetMachines(), such), nil
}

func namesWith(machines []*wire.Machine, such func(*wire.Spec) bool) []string {
	var names []string
	for _, m := range machines {
		if such(m.GetSpec()) {
			names = append(names, m.GetName())
		}
	}
	return names
}

func byName(ms []*wire.Machine) []*wire.Machine {
	slices.SortStableFunc(ms, func(x, y *wire.Machine) int {
		return strings.Compare(strings.ToLower(x.GetName()), strings.ToLower(y.GetName()))
	})
	return ms
}

func (a *app) printMachines(l *listing[*wire.Machine], ms []*wire.Machine, info *wire.EngineInfo) error {
	if info.GetDamaged() > 0 {
		a.note("the journal is damaged for %d machines; see arcbox journal verify", info.GetDamaged())
	}
	return l.print(a, ms, "no machines yet; arcbox up makes one")
}
