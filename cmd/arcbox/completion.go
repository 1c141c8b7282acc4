package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// The command completion itself, for bash, zsh, fish and powershell, is
// cobra's. Here is what it can complete.

// completeTime bounds how long a Tab may take.
const completeTime = 300 * time.Millisecond

type completer = func(cmd *cobra.Command, args []string, part string) ([]string, cobra.ShellCompDirective)

// completeNames offers the names of machines, to most arguments, each once. It
// asks an engine that runs, and never starts one.
func (a *app) completeNames(most int) completer {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) >= most {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completeTime)
		defer cancel()
		a.silent = true
		e, err := a.running(ctx)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		defer e.Close()
		all, _ := allMachines(ctx, e)
		var names []string
		for _, m := range byName(all.GetMachines()) {
			if !slices.Contains(args, m.GetName()) {
				names = append(names, m.GetName()+"\t"+m.GetState())
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// completePlaces offers machines, with the colon behind which a path goes, and
// else files here.
func (a *app) completePlaces(cmd *cobra.Command, args []string, part string) ([]string, cobra.ShellCompDirective) {
	names, _ := a.completeNames(len(args)+1)(cmd, nil, part)
	var out []string
	for _, name := range names {
		if name, state, _ := strings.Cut(name, "\t"); strings.HasPrefix(name, part) {
			out = append(out, name+":\t"+state)
		}
	}
	if len(out) == 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	return out, cobra.ShellCompDirectiveNoSpace
}

// complete offers the values of a flag.
func (a *app) complete(cmd *cobra.Command, flag string, values ...string) {
	err := cmd.RegisterFlagCompletionFunc(flag, func(_ *cobra.Command, _ []string, part string) ([]string, cobra.ShellCompDirective) {
		var out []string
		for _, v := range values {
			if strings.HasPrefix(v, part) {
				out = append(out, v)
			}
		}
		return out, cobra.ShellCompDirectiveNoFileComp
	})
	if err != nil {
		panic(err) // a flag that this command does not have
	}
}
