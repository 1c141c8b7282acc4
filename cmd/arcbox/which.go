package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"
)

// which finds out which machines a command is for, once an engine answers.
type which func(ctx context.Context, e engine) ([]string, error)

// one is a machine by name.
func one(name string, err error) which {
	return func(context.Context, engine) ([]string, error) { return []string{name}, err }
}

// machinesFlag makes a command take names, or --all.
func (a *app) machinesFlag(cmd *cobra.Command, least int) (chosen func(args []string) which) {
	all := cmd.Flags().Bool("all", false, "all machines, in place of names")
	names := named(least, manyNames)
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		switch {
		case !*all:
			return names(cmd, args)
		case len(args) > 0:
			return badInput("all", "--all and %s: one of them at a time", args[0])
		}
		return nil
	}
	cmd.ValidArgsFunction = a.completeNames(manyNames)
	return func(args []string) which {
		if !*all {
			return func(context.Context, engine) ([]string, error) { return a.namesOf(args) }
		}
		return a.everyName
	}
}

// everyName is the names of all machines that there are now.
func (a *app) everyName(ctx context.Context, e engine) ([]string, error) {
	names, err := machineNames(ctx, e)
	if err == nil && len(names) == 0 {
		a.note("there are no machines")
	}
	return names, err
}

// namesOf is the names that were given, each once, or the default machine's.
func (a *app) namesOf(args []string) ([]string, error) {
	if len(args) == 0 {
		name, err := a.defaultMachine()
		return []string{name}, err
	}
	var out []string
	seen := map[string]bool{}
	for _, name := range args {
		if key := strings.ToLower(name); !seen[key] {
			seen[key] = true
			out = append(out, name)
		}
	}
	return out, nil
}

// nameOf is the name that was given, or the default machine's.
func (a *app) nameOf(args []string) (string, error) {
	if len(args) == 0 {
		return a.defaultMachine()
	}
	return args[0], nil
}
