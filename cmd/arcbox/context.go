package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/arcboxlabs/arcbox-engine/cmd/internal/home"
)

// contextVar names the context, above ARCBOX_HOME and context use.
const contextVar = "ARCBOX_CONTEXT"

// contextOrder is told wherever somebody may wonder.
const contextOrder = "Which engine is asked is said by the first of these that is there: --context,\n" +
	"--home, " + contextVar + ", " + home.Var + ", arcbox context use; else it is this host's (\"" + localContext + "\")."

func newContext(a *app) *cobra.Command {
	cmd := group(&cobra.Command{
		Use:   "context",
		Short: "Name the engines of other hosts, and choose among them",
		Long: "A context is a name for the engine of another host. It is reached by the system's\n" +
			"ssh, as ssh://[USER@]HOST[:PORT][/DIRECTORY]: nothing listens on a port there, and\n" +
			"arcbox has to be in the PATH of that user. DIRECTORY is an ARCBOX_HOME there.\n\n" +
			contextOrder + "\n\n" +
			"By ssh, image, kernel and run act on that host; the journal of an engine that is\n" +
			"down is for " + localContext + " only; shell, ssh, exec, cp and disk go anywhere.",
		Example: "  arcbox context add lab ssh://ci@lab.example.org\n  arcbox --context lab list\n  arcbox context use lab\n  arcbox context use " + localContext,
	})
	cmd.AddCommand(newContextAdd(a), newContextUse(a), newContextList(a), newContextRemove(a))
	return cmd
}

func newContextAdd(a *app) *cobra.Command {
	var use bool
	cmd := &cobra.Command{
		Use:     "add NAME ENDPOINT",
		Short:   "Name an engine of another host",
		Example: "  arcbox context add lab ssh://ci@lab.example.org:2222\n  arcbox context add side ssh://build1/srv/arcbox --use",
		Args:    contextArgs(2, "the name and the endpoint are needed"),
	}
	cmd.Flags().BoolVar(&use, "use", false, "use it from now on")
	cmd.RunE = a.verb(func(ctx context.Context, _ *cobra.Command, args []string) error {
		at, err := parseEndpoint(args[1])
		if err != nil {
			return err
		}
		if at.scheme == "tcp" {
			f := badInput("endpoint", "endpoint %q: an engine that listens is joined", shorten(args[1], 200))
			f.hint = "arcbox engine invite, on the engine's host\narcbox engine join TOKEN, here"
			return f
		}
		return a.addContext(ctx, remoteContext{Name: args[0], Endpoint: args[1]}, "", use)
	})
	return cmd
}

// addContext adds a context; a name is given once. One without a name gets one like
// the wish.
func (a *app) addContext(ctx context.Context, c remoteContext, wish string, use bool) error {
	err := a.changeContexts(ctx, func(all *contexts) error {
		if c.Name == "" {
			c.Name = all.unused(wish)
		}
		if err := all.free(c.Name); err != nil {
			return err
		}
		all.All = append(all.All, c)
		if use {
			all.Current = c.Name
		}
		return nil
	})
	if err == nil {
		a.note("added the context %s: %s", c.Name, c.Endpoint)
	}
	return err
}

// free refuses a name that has been given.
func (c *contexts) free(name string) error {
	if c.find(name) == nil && !strings.EqualFold(name, localContext) {
		return nil
	}
	return &failure{
		code: exitConflict, kind: "conflict", field: "context", message: fmt.Sprintf("there is a context %q already", name),
		hint: "arcbox context list\narcbox context rm " + name,
	}
}

func newContextUse(a *app) *cobra.Command {
	return &cobra.Command{
		Use:               "use NAME",
		Short:             "Choose the engine that is asked from now on",
		Long:              "Choose the engine that is asked where nothing else is said.\n\n" + contextOrder,
		Example:           "  arcbox context use lab\n  arcbox context use " + localContext,
		Args:              contextArgs(1, "the name of a context is needed"),
		ValidArgsFunction: a.completeContexts,
		RunE: a.verb(func(ctx context.Context, _ *cobra.Command, args []string) error {
			return a.changeContexts(ctx, func(all *contexts) error {
				if strings.EqualFold(args[0], localContext) {
					all.Current = ""
					return nil
				}
				c, err := all.get(args[0])
				if err == nil {
					all.Current = c.Name
				}
				return err
			})
		}),
	}
}

func newContextRemove(a *app) *cobra.Command {
	return &cobra.Command{
		Use:               "rm NAME",
		Short:             "Forget an engine of another host",
		Args:              contextArgs(1, "the name of a context is needed"),
		ValidArgsFunction: a.completeContexts,
		RunE: a.verb(func(ctx context.Context, _ *cobra.Command, args []string) error {
			return a.changeContexts(ctx, func(all *contexts) error {
				c, err := all.get(args[0])
				if err != nil {
					return err
				}
				if all.Current == c.Name {
					all.Current = ""
				}
				all.All = slices.DeleteFunc(all.All, func(one remoteContext) bool { return one.Name == c.Name })
				return nil
			})
		}),
	}
}

type contextJSON struct {
	Name     string `json:"name"`
	Endpoint string `json:"endpoint"`
	Used     bool   `json:"used"`
	By       string `json:"by,omitempty"` // what says that it is used
}

func newContextList(a *app) *cobra.Command {
	l := contextListing()
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List contexts, and which is used by what",
		Long:    "List contexts; BY is what says which one is used.\n\n" + contextOrder,
		Args:    noArgs,
	}
	listFlags(a, cmd, l)
	cmd.RunE = a.verb(func(context.Context, *cobra.Command, []string) error {
		all, err := a.readContexts()
		if err != nil {
			return err
		}
		p, unclear := a.choice()
		rows := []contextJSON{{Name: localContext, Endpoint: "this host"}}
		for _, c := range all.All {
			rows = append(rows, contextJSON{Name: c.Name, Endpoint: c.Endpoint})
		}
		for i := range rows {
			if unclear == nil && rows[i].Name == p.name {
				rows[i].Used, rows[i].By = true, p.by
			}
		}
		return errors.Join(l.print(a, rows, ""), unclear) // what there is helps whoever named what is not
	})
	return cmd
}

func contextListing() *listing[contextJSON] {
	type row = contextJSON
	name := func(c row) string { return c.Name }
	endpoint := func(c row) string { return c.Endpoint }
	return &listing[row]{
		names: func(c row) []string { return []string{c.Name} },
		view:  func(c row) any { return c },
		columns: []column[row]{
			{name: "used", bare: true, text: func(c row) string { return ifSet(c.Used, "*") }},
			{name: "name", text: name, match: like(name)},
			{name: "endpoint", text: endpoint, match: like(endpoint), bends: true},
			{name: "by", text: func(c row) string { return c.By }},
		},
	}
}

// contextArgs wants so many arguments, the first of which is a context's name.
func contextArgs(n int, missing string) cobra.PositionalArgs {
	return wordArgs(n, missing, "context", checkContext)
}

// wordArgs wants so many arguments, the first of which is a name.
func wordArgs(n int, missing, field string, check func(string) error) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < n {
			return badInput(field, "%s: %s", cmd.CommandPath(), missing)
		}
		if len(args) > n {
			return badInput("", "%s: %d arguments, at most %d", cmd.CommandPath(), len(args), n)
		}
		return check(args[0])
	}
}

func (a *app) completeContexts(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	all, err := a.readContexts()
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return all.names(), cobra.ShellCompDirectiveNoFileComp
}

// choice is which engine a command asks.
type choice struct {
	name   string
	by     string
	remote *remoteContext // nil = this host's
}

// choice finds out, once.
func (a *app) choice() (*choice, error) {
	if a.chosen != nil {
		return a.chosen, nil
	}
	name, by := a.contextFlag, "--context"
	switch {
	case name != "":
	case a.homeFlag != "":
		name, by = localContext, "--home"
	case a.env(contextVar) != "":
		name, by = a.env(contextVar), contextVar
	case a.env(home.Var) != "":
		name, by = localContext, home.Var
	default:
		by = "context use"
	}
	p, err := a.placeOf(name, by)
	if err != nil {
		return nil, err
	}
	if p.remote != nil && a.homeFlag != "" {
		return nil, badInput("home", "--home and --context %s: one of them at a time", p.name)
	}
	a.chosen = p
	return p, nil
}

// isFar tells whether the engine that was chosen is another host's.
func (a *app) isFar() bool {
	p, err := a.choice()
	return err == nil && p.remote != nil
}

// placeOf looks a context up; the name "" is that of context use.
func (a *app) placeOf(name, by string) (*choice, error) {
	here := &choice{name: localContext, by: by}
	if strings.EqualFold(name, localContext) {
		return here, nil
	}
	if name == "" {
		here.by = "nothing said"
		if _, err := a.contextsFile(); err != nil { // without HOME nothing can be kept, and nothing is
			return here, nil
		}
	} else if err := checkContext(name); err != nil {
		return nil, err
	}
	all, err := a.readContexts()
	if err != nil || name == "" && all.Current == "" {
		return here, err
	}
	if name == "" {
		name = all.Current
	}
	c, err := all.get(name)
	if err != nil {
		return nil, err
	}
	return &choice{c.Name, by, c}, nil
}

// onHost is how a command of arcbox is typed for the engine's host.
func (p *choice) onHost(words string) string {
	host := p.name
	if e, err := parseEndpoint(p.remote.Endpoint); err == nil {
		host = e.host
	}
	return "ssh " + host + " arcbox " + words
}

// elsewhere refuses what is about files of the engine's host.
func (p *choice) elsewhere() *failure {
	return &failure{
		code: exitConflict, kind: "conflict", field: "context", hint: "arcbox --context " + localContext + " …\n" + p.onHost("…"),
		message: fmt.Sprintf("this is about files of the engine's host, and the context %q (by %s) is another host's", p.name, p.by),
	}
}
