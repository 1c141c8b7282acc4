package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/arcboxlabs/arcbox-engine/actors/client"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

var listHeader = []string{"NAME", "STATE", "DESIRED", "HEALTH", "IP", "CPUS", "MEM", "BACKEND", "AGE", "CAUSE"}

func newList(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls", "ps"},
		Short:   "List machines",
		Long: "List every machine, sorted by name. Nothing is probed for it: a machine that hangs\n" +
			"delays no list. BACKEND sim marks a machine in which nothing really runs. -q\n" +
			"prints names only, --format json one array.",
		Args: noArgs,
		RunE: a.verb(func(ctx context.Context, _ *cobra.Command, _ []string) error {
			e, err := a.engine(ctx)
			if err != nil {
				return err
			}
			defer e.Close()
			all, err := allMachines(ctx, e)
			if err != nil {
				return err
			}
			return a.printMachines(byName(all.GetMachines()), all.GetEngine())
		}),
	}
}

// allMachines asks for all machines.
func allMachines(ctx context.Context, e engine) (*wire.Machines, error) {
	return client.List(func(m *wire.ListMachines) (*wire.Machines, error) { return ask[*wire.Machines](ctx, e, m) })
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

func (a *app) printMachines(ms []*wire.Machine, info *wire.EngineInfo) error {
	if info.GetDamaged() > 0 {
		a.note("the journal is damaged for %d machines; see arcbox journal verify", info.GetDamaged())
	}
	switch {
	case a.json():
		views := make([]machineJSON, len(ms))
		for i, m := range ms {
			views[i] = machineView(m)
		}
		return a.printJSON(views)
	case a.quiet:
		var names strings.Builder
		for _, m := range ms {
			names.WriteString(printable(m.GetName()) + "\n")
		}
		_, err := fmt.Fprint(a.stdout, names.String())
		return err
	case len(ms) == 0:
		a.note("no machines yet; arcbox up makes one")
	}
	rows := make([][]string, len(ms))
	for i, m := range ms {
		rows[i] = a.listRow(m)
	}
	return a.printTable(listHeader, rows)
}

func (a *app) listRow(m *wire.Machine) []string {
	s := m.GetSpec()
	cause := m.GetCause()
	if m.GetState() == "Running" || m.GetState() == "Starting" {
		cause = "" // of an earlier life
	}
	if m.GetResting() {
		cause += " (resting)"
	}
	return []string{
		m.GetName(), m.GetState(), m.GetDesired(), shorten(healthText(m), 40), m.GetAddress(),
		fmt.Sprint(s.GetCpus()), formatSize(s.GetMemory()), s.GetBackend(), a.since(m.GetCreatedUnixNanos()), cause,
	}
}
