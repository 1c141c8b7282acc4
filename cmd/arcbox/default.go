package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/arcboxlabs/arcbox-engine/cmd/internal/home"
	whole "github.com/arcboxlabs/arcbox-engine/guest/files"
)

// defaultName is the machine of commands that name none, where nobody chose another.
const defaultName = "default"

type defaultJSON struct {
	Name   string `json:"name"`
	Chosen bool   `json:"chosen"` // by arcbox default
}

func newDefault(a *app) *cobra.Command {
	var unset bool
	cmd := &cobra.Command{
		Use:   "default [NAME | --unset]",
		Short: "Show or choose the machine of commands that name none",
		Long: "Show which machine commands mean that could name one and do not, or choose it. It is\n" +
			"\"" + defaultName + "\" until another is chosen, and again after --unset. What removes or runs\n" +
			"a program (rm, exec, cp, run) always needs a name. The choice is this user's, and kept\n" +
			"in the user's configuration; a machine that is removed stays the choice. It is about\n" +
			"this host: with an engine elsewhere it is \"" + defaultName + "\".",
		Example:           "  arcbox default web\n  arcbox shell\n  arcbox default --unset",
		Args:              named(0, 1),
		ValidArgsFunction: a.completeNames(1),
	}
	cmd.Flags().BoolVar(&unset, "unset", false, "back to \""+defaultName+"\"")
	cmd.RunE = a.verb(func(ctx context.Context, cmd *cobra.Command, args []string) error {
		switch {
		case unset && len(args) > 0:
			return usage(cmd, badInput("unset", "--unset and %s: one of them at a time", args[0]))
		case unset:
			return a.unsetDefault()
		case len(args) > 0:
			return a.chooseDefault(ctx, args[0])
		}
		d, err := a.readDefault()
		if err != nil {
			return err
		}
		if a.json() {
			return a.printJSON(d)
		}
		_, err = fmt.Fprintln(a.stdout, d.Name)
		return err
	})
	return cmd
}

func (a *app) defaultFile() (string, error) {
	h, err := a.home()
	if err != nil || h.Config == "" {
		return "", err
	}
	return filepath.Join(h.Config, "default-machine"), nil
}

// maxDefault is more than a name and a line end need.
const maxDefault = 256

// defaultMachine is the machine of commands that name none.
func (a *app) defaultMachine() (string, error) {
	d, err := a.readDefault()
	return d.Name, err
}

// readDefault reads the choice. One that can't be read is an error: another machine
// would be the wrong one.
func (a *app) readDefault() (defaultJSON, error) {
	none := defaultJSON{Name: defaultName}
	if p, err := a.choice(); err != nil || p.remote != nil { // choices are about machines here
		return none, err
	}
	file, err := a.defaultFile()
	if err != nil || file == "" {
		return none, err
	}
	text, err := whole.Read(file, maxDefault)
	if errors.Is(err, fs.ErrNotExist) {
		return none, nil
	}
	name := strings.TrimSuffix(string(text), "\n")
	if err == nil {
		err = checkName(name)
	}
	if err != nil {
		return none, &failure{code: exitGeneral, kind: "failed", message: fmt.Sprintf("the default machine: %s: %v", file, rootCause(err)), hint: "arcbox default --unset", cause: err}
	}
	return defaultJSON{name, true}, nil
}

// chooseDefault keeps a choice, of a machine that is there.
func (a *app) chooseDefault(ctx context.Context, name string) error {
	file, err := a.defaultFile() // before a machine of another host is asked for, of which there are no choices
	if err == nil && file == "" {
		err = home.ErrNoHome
	}
	if err != nil {
		return err
	}
	e, m, err := a.machine(ctx, name)
	if err != nil {
		return err
	}
	defer e.Close()
	if err := keepDefault(file, m.GetName()); err != nil {
		return fmt.Errorf("keep the default machine: %w", err)
	}
	a.note("%s is the default machine", m.GetName())
	return nil
}

func keepDefault(file, name string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	return whole.Replace(file, []byte(name+"\n"), 0o600)
}

func (a *app) unsetDefault() error {
	file, err := a.defaultFile()
	if err != nil {
		return err
	}
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget the default machine: %w", err)
	}
	a.note("%s is the default machine", defaultName)
	return nil
}
