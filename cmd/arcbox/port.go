package main

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

func newPort(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "port",
		Short: "Sockets of the host that lead into machines",
		Long: "Sockets of the host that lead into machines, as create -p and --socket make them. What\n" +
			"is added or removed is so at once, also for a machine that runs. Of a machine with\n" +
			"--auto-ports the list has what its guest listens at, too; one whose port of the host\n" +
			"is taken says so, and gets it when it is free. Such a guest chooses ports of this\n" +
			"host's loopback: it is for guests that you trust with that.",
		Example: "  arcbox port add web 8080:80\n  arcbox port ls web\n  arcbox port rm web 8080",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newPortAdd(a), newPortLs(a), newPortRm(a))
	return cmd
}

func newPortAdd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "add NAME PORT...",
		Short: "Add forwards to a machine",
		Long: "Add forwards to a machine: " + portForm + ",\n" +
			"or HOST:GUEST, two paths of sockets; HOST:GUEST:in makes one in the guest, for root there,\n" +
			"that leads to one of this host, such as that of an ssh-agent. HOST 0 is a port that is free, which stays.",
		Example:           "  arcbox port add web 8080:80 0:22\n  arcbox port add ci ./docker.sock:/run/docker.sock\n  arcbox port add ci $SSH_AUTH_SOCK:/run/ssh-agent.sock:in",
		Args:              cobra.MinimumNArgs(2),
		ValidArgsFunction: a.completeNames(1),
	}
	cmd.RunE = a.verb(func(ctx context.Context, cmd *cobra.Command, args []string) error {
		var ports []*wire.Port
		for _, text := range args[1:] {
			p, err := parseForward(text, a.isFar())
			if err != nil {
				return usage(cmd, err)
			}
			ports = append(ports, p)
		}
		return a.setPorts(ctx, args[0], func(*wire.Machine) (*wire.SetMachine, error) { return &wire.SetMachine{AddPorts: ports}, nil })
	})
	return cmd
}

func newPortRm(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rm NAME PORT...",
		Short: "Remove forwards of a machine, and end what goes through them",
		Long: "Remove forwards of a machine by their side of the host: a port, an address with a port,\n" +
			"or a path; with /udp behind a port for one of UDP. What goes through them ends.",
		Example:           "  arcbox port rm web 8080 5353/udp",
		Args:              cobra.MinimumNArgs(2),
		ValidArgsFunction: a.completeNames(1),
	}
	cmd.RunE = a.verb(func(ctx context.Context, _ *cobra.Command, args []string) error {
		return a.setPorts(ctx, args[0], func(m *wire.Machine) (*wire.SetMachine, error) {
			set := &wire.SetMachine{}
			for _, text := range args[1:] {
				p := findForward(m.GetSpec().GetPorts(), text, a.isFar())
				if p == nil && isAutomatic(m, text, a.isFar()) {
					return nil, badInput("port", "%q: the guest of %s listens there: arcbox set %s --auto-ports=false ends all automatic forwards", shorten(text, 80), m.GetName(), m.GetName())
				}
				if p == nil {
					return nil, badInput("port", "%q: machine %s has no such forward: arcbox port ls %s", shorten(text, 80), m.GetName(), m.GetName())
				}
				set.RemovePorts = append(set.RemovePorts, p)
			}
			return set, nil
		})
	})
	return cmd
}

// setPorts asks for other forwards, and shows those that there are.
func (a *app) setPorts(ctx context.Context, name string, what func(*wire.Machine) (*wire.SetMachine, error)) error {
	e, m, err := a.machine(ctx, name)
	if err != nil {
		return err
	}
	defer e.Close()
	set, err := what(m)
	if err != nil {
		return err
	}
	set.Request, set.Name = request(), name
	done, err := command(ctx, e, set)
	if err != nil {
		return err
	}
	if err := settled(ctx, e, done.GetMachine()); err != nil {
		return err
	}
	return a.listPorts(ctx, e, name, portListing())
}

// settled waits for a moment until a machine that runs has tried each forward.
func settled(ctx context.Context, e engine, m *wire.Machine) error {
	for range 20 {
		now, err := ask[*wire.Machine](ctx, e, &wire.InspectMachine{Name: m.GetName()})
		if err != nil {
			return err
		}
		waits := slices.ContainsFunc(now.GetNetwork().GetPorts(), func(p *wire.PortState) bool { return p.GetError() == "not yet" })
		if !waits {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
		}
	}
	return nil
}

func newPortLs(a *app) *cobra.Command {
	l := portListing()
	cmd := &cobra.Command{
		Use:               "ls NAME",
		Short:             "List the forwards of a machine",
		Example:           "  arcbox port ls web --format json",
		Args:              named(1, 1),
		ValidArgsFunction: a.completeNames(1),
	}
	listFlags(a, cmd, l)
	cmd.RunE = a.verb(asking(a.engine, func(ctx context.Context, e engine, args []string) error {
		return a.listPorts(ctx, e, args[0], l)
	}))
	return cmd
}

func (a *app) listPorts(ctx context.Context, e engine, name string, l *listing[portJSON]) error {
	m, err := ask[*wire.Machine](ctx, e, &wire.InspectMachine{Name: name})
	if err != nil {
		return err
	}
	var ports []portJSON
	if v := networkView(m); v != nil {
		ports = v.Ports
	}
	if why := m.GetNetwork().GetAutoTrouble(); why != "" {
		a.note("%s: automatic ports: %s", m.GetName(), why)
	}
	return l.print(a, ports, "no forwards yet; arcbox port add "+name+" 8080:80 makes one")
}

func portListing() *listing[portJSON] {
	type row = portJSON
	protocol := func(p row) string { return p.Protocol }
	host := func(p row) string { return p.Listen }
	state := func(p row) string { return cmp.Or(p.Error, "listens") }
	automatic := func(p row) string { return ifSet(p.Automatic, "yes") }
	return &listing[row]{
		names: func(p row) []string { return []string{p.Listen} },
		view:  func(p row) any { return p },
		columns: []column[row]{
			{name: "protocol", text: protocol, match: like(protocol)},
			{name: "host", text: host, match: like(host)},
			{name: "guest", text: func(p row) string { return p.To + ifSet(p.In, " (in)") }},
			{name: "automatic", text: automatic, match: like(automatic)},
			{name: "state", text: state, match: like(state), bends: true},
		},
	}
}

// parseForward reads a port or two paths.
func parseForward(text string, far bool) (*wire.Port, error) {
	if strings.HasPrefix(text, "/") || strings.HasPrefix(text, ".") {
		return parseSocket(text, far)
	}
	return parsePort(text)
}

// isAutomatic tells whether a forward is there because the guest listens.
func isAutomatic(m *wire.Machine, text string, far bool) bool {
	var auto []*wire.Port
	for _, p := range m.GetNetwork().GetPorts() {
		if p.GetAutomatic() {
			auto = append(auto, p.GetPort())
		}
	}
	return findForward(auto, text, far) != nil
}

// findForward finds a forward by its side of the host; nil = there is none.
func findForward(ports []*wire.Port, text string, far bool) *wire.Port {
	place, protocol, has := strings.Cut(text, "/")
	if !has {
		protocol = "tcp"
	}
	if !strings.Contains(place, ":") {
		place = "127.0.0.1:" + place
	}
	abs, err := hostPath(text, far)
	for _, p := range ports {
		if p.GetProtocol() == protocol && p.GetListen() == place || err == nil && p.GetProtocol() == "unix" && p.GetListen() == abs {
			return p
		}
	}
	return nil
}
