package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/arcboxlabs/arcbox-engine/actors/client"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

// version is set when a release is built: -ldflags "-X main.version=1.2.3".
var version string

// versionTime bounds how long version waits for the engine.
const versionTime = 5 * time.Second

var errNoVersion = fmt.Errorf("it said nothing within %s", versionTime)

func buildVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

type versionJSON struct {
	CLI    cliJSON     `json:"cli"`
	Engine *engineJSON `json:"engine"` // null where none runs
	// VMHosts and Agents are those of machines that run.
	VMHosts []runningJSON `json:"vm_hosts"`
	Agents  []runningJSON `json:"agents"`
}

type cliJSON struct {
	Version string `json:"version"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

// runningJSON is one version, and the machines that have it.
type runningJSON struct {
	Version  string   `json:"version"`
	Machines []string `json:"machines"`
	Outdated bool     `json:"outdated,omitempty"` // another than the engine's, or than the next start's
}

func newVersion(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the versions of the CLI, of the engine if it runs, and of what its machines run in",
		Long: "Print the versions of the CLI, of the engine if it runs, and of the VM hosts and agents\n" +
			"of its machines that run. Machines go on in VM hosts of the version that they were\n" +
			"started with, whatever the engine is by now; such a machine is outdated, and its next\n" +
			"start changes that. An agent's version is a digest of its build: one that is not of the\n" +
			"build that machines boot from now is outdated as well.",
		Example: "  arcbox version\n  arcbox version --format json",
		Args:    noArgs,
		RunE: a.verb(func(ctx context.Context, _ *cobra.Command, _ []string) error {
			out := versionJSON{
				CLI:     cliJSON{buildVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH},
				VMHosts: []runningJSON{}, Agents: []runningJSON{},
			}
			all, err := a.whatRuns(ctx)
			if err == nil {
				view := engineView(all.GetEngine())
				out.Engine = &view
				ms := byName(all.GetMachines())
				out.VMHosts = byVersion(ms, func(m *wire.Machine) (string, bool) {
					return m.GetHostVersion(), m.GetHostVersion() != view.Version
				})
				out.Agents = byVersion(ms, func(m *wire.Machine) (string, bool) {
					return m.GetAgentVersion(), m.GetAgentOutdatedBy() != ""
				})
			}
			if a.json() {
				return a.printJSON(out)
			}
			return a.printVersions(out, err)
		}),
	}
}

// printVersions says why there is no engine to tell of, where there is none.
func (a *app) printVersions(v versionJSON, why error) error {
	engine := "not running"
	switch {
	case v.Engine == nil && !errors.Is(why, client.ErrNoEngine):
		engine = "does not answer: " + printable(why.Error())
	case v.Engine != nil:
		engine = fmt.Sprintf("%s (pid %d)", printable(v.Engine.Version), v.Engine.PID)
	}
	lines := []string{
		fmt.Sprintf("arcbox         %s (%s %s/%s)", v.CLI.Version, v.CLI.Go, v.CLI.OS, v.CLI.Arch),
		"arcbox-engine  " + engine,
	}
	for _, h := range v.VMHosts {
		lines = append(lines, "arcbox-vmhost  "+h.text())
	}
	for _, g := range v.Agents {
		lines = append(lines, "arcbox-agent   "+g.text())
	}
	_, err := fmt.Fprintln(a.stdout, strings.Join(lines, "\n"))
	return err
}

func (r runningJSON) text() string {
	text := fmt.Sprintf("%s (%s)", printable(r.Version), someOf(r.Machines))
	if r.Outdated {
		text += ", outdated: arcbox restart " + printable(strings.Join(r.Machines[:min(len(r.Machines), namesShown)], " "))
	}
	return text
}

// namesShown is how many machines are named in a sentence.
const namesShown = 5

// someOf names machines, where they are few.
func someOf(names []string) string {
	if len(names) > namesShown {
		return fmt.Sprintf("%d machines", len(names))
	}
	return printable(strings.Join(names, ", "))
}

// byVersion puts the machines that run together by a version of theirs, those that
// are outdated apart from others of it. The newest is not known: versions need no
// order.
func byVersion(ms []*wire.Machine, version func(*wire.Machine) (v string, outdated bool)) []runningJSON {
	out := []runningJSON{}
	for _, m := range ms {
		v, outdated := version(m)
		if v == "" || !slices.Contains([]string{"Starting", "Running", "Stopping"}, m.GetState()) {
			continue
		}
		i := slices.IndexFunc(out, func(r runningJSON) bool { return r.Version == v && r.Outdated == outdated })
		if i < 0 {
			i = len(out)
			out = append(out, runningJSON{Version: v, Outdated: outdated})
		}
		out[i].Machines = append(out[i].Machines, m.GetName())
	}
	slices.SortStableFunc(out, func(x, y runningJSON) int { return cmp.Compare(x.Version, y.Version) })
	return out
}

// whatRuns is the engine with its machines, where one answers soon.
func (a *app) whatRuns(ctx context.Context) (*wire.Machines, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, versionTime, errNoVersion)
	defer cancel()
	e, err := a.running(ctx)
	if err != nil {
		return nil, err
	}
	defer e.Close()
	return allMachines(ctx, e)
}

// engineInfo is the running engine's, nil where none answers soon.
func (a *app) engineInfo(ctx context.Context) *wire.EngineInfo {
	ctx, cancel := context.WithTimeout(ctx, versionTime)
	defer cancel()
	e, err := a.running(ctx)
	if err != nil {
		return nil
	}
	defer e.Close()
	info, err := ask[*wire.EngineInfo](ctx, e, &wire.EngineStatus{})
	if err != nil {
		return nil
	}
	return info
}
