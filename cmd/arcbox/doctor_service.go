package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strings"

	"github.com/arcboxlabs/arcbox-engine/cmd/internal/service"
	whole "github.com/arcboxlabs/arcbox-engine/guest/files"
)

// seeService looks at the engine's service, where it is one.
func (a *app) seeService(ctx context.Context) finding {
	const what = "service"
	m := a.manager(a.host.uid == 0)
	units, err := m.files(nowhere)
	if err != nil {
		return ok(what, "the engine is none")
	}
	unit := units[0].Name
	data, err := whole.Read(unit, maxUnit)
	if err != nil {
		return ok(what, "the engine is none: there is no "+unit)
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	if program := startsWhat(data); program != "" {
		if _, err := exec.LookPath(program); err != nil {
			return finding{what, gradeError, fmt.Sprintf("%s starts %s: %v", unit, program, rootCause(err)), "arcbox engine install"}
		}
	}
	if !m.runs(ctx) {
		return finding{what, gradeWarning, unit + " is installed, and does not run", "arcbox engine install starts it; arcbox engine uninstall takes it away"}
	}
	if s, isSystemd := m.(*systemd); isSystemd && !s.system {
		me, err := user.Current()
		if err == nil && !s.lingers(ctx, me.Username) {
			return finding{what, gradeWarning, unit + " runs until your last logout, and so do machines", "loginctl enable-linger, where they are to run on"}
		}
	}
	if service.Ours(data) != nil {
		return ok(what, unit+" runs; it was edited")
	}
	return ok(what, unit+" runs")
}

// startsWhat is the program that a unit of ours starts, "" where that is not known.
func startsWhat(unit []byte) string {
	_, rest, _ := strings.Cut(string(unit), "\nExecStart=\"")
	program, _, ok := strings.Cut(rest, `"`)
	if !ok || program == "" || program[0] != os.PathSeparator {
		return ""
	}
	return strings.ReplaceAll(program, "%%", "%")
}
