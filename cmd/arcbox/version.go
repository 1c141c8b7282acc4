package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

// version is set when a release is built: -ldflags "-X main.version=1.2.3".
var version string

// versionTime bounds how long version waits for the engine.
const versionTime = time.Second

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
}

type cliJSON struct {
	Version string `json:"version"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

func newVersion(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the versions of the CLI and of the engine, if it runs",
		Args:  noArgs,
		RunE: a.verb(func(ctx context.Context, _ *cobra.Command, _ []string) error {
			out := versionJSON{CLI: cliJSON{buildVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH}}
			info := a.engineInfo(ctx)
			if info != nil {
				view := engineView(info)
				out.Engine = &view
			}
			if a.json() {
				return a.printJSON(out)
			}
			fmt.Fprintf(a.stdout, "arcbox         %s (%s %s/%s)\n", out.CLI.Version, out.CLI.Go, out.CLI.OS, out.CLI.Arch)
			engine := "not running"
			if info != nil {
				engine = fmt.Sprintf("%s (pid %d)", printable(info.GetVersion()), info.GetPid())
			}
			_, err := fmt.Fprintf(a.stdout, "arcbox-engine  %s\n", engine)
			return err
		}),
	}
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
