package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/arcboxlabs/arcbox-engine/actors/client"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

const inviteTime = time.Hour

func newEngineInvite(a *app) *cobra.Command {
	var name, role, address string
	life := limitValue(inviteTime)
	cmd := &cobra.Command{
		Use:   "invite",
		Short: "Let a client of another host join this engine",
		Long: "Print a token with which one client of another host can join, once, by arcbox engine\n" +
			"join. It carries this engine's address, what its certificate is known by, and a\n" +
			"secret: pass it on as you would a password.\n\n" +
			"The role viewer asks and changes nothing; admin does all but invite, revoke and back\n" +
			"up. An admin can do on this host what this engine's user can: it may give machines\n" +
			"directories of it. The engine has to listen (arcbox engine start --listen).",
		Example: "  arcbox engine invite --name laptop\n  arcbox engine invite --name wall --role viewer --expires 10m --address lab.example.org:7443",
		Args:    noArgs,
	}
	f := cmd.Flags()
	f.StringVar(&name, "name", "", "what the client is called here, and in records")
	f.StringVar(&role, "role", "admin", "admin or viewer")
	f.Var(&life, "expires", "how long the token is good, at most 168h")
	f.StringVar(&address, "address", "", "HOST:PORT by which the other host reaches this one; where it listens, by default")
	a.complete(cmd, "role", "admin", "viewer")
	cmd.RunE = a.verb(func(ctx context.Context, _ *cobra.Command, _ []string) error {
		if name == "" {
			return badInput("name", "--name is missing: what the client is called here")
		}
		e, err := a.running(ctx)
		if err != nil {
			return err
		}
		defer e.Close()
		t, err := ask[*wire.Invited](ctx, e, &wire.InviteClient{Request: request(), Name: name, Role: role, LifeNanos: int64(life), Address: address})
		if err != nil {
			return err
		}
		if a.json() {
			return a.printJSON(map[string]any{"token": t.GetToken(), "expires": wireTime(t.GetExpiresUnixNanos())})
		}
		a.note("on the other host, within %s: arcbox engine join TOKEN", time.Duration(life))
		_, err = fmt.Fprintln(a.stdout, t.GetToken())
		return err
	})
	return cmd
}

func newEngineJoin(a *app) *cobra.Command {
	var name string
	var use bool
	cmd := &cobra.Command{
		Use:   "join TOKEN",
		Short: "Join an engine of another host by its token",
		Long: "Make a key, have the engine that made the token sign for it, and add a context of it.\n" +
			"The key never leaves this host; the engine is known by what the token says of it.",
		Example: "  arcbox engine join arcbox1.… --context-name lab --use",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return badInput("token", "%s: one token is needed", cmd.CommandPath())
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&name, "context-name", "", "the context's name; by default what the client is called there")
	cmd.Flags().BoolVar(&use, "use", false, "use it from now on")
	cmd.RunE = a.verb(func(ctx context.Context, _ *cobra.Command, args []string) error {
		t, err := wire.ParseToken(args[0])
		if err != nil {
			return badInput("token", "token %q: %v", shorten(args[0], 20), err)
		}
		c := remoteContext{Name: name, Endpoint: "tcp://" + t.Address}
		if err := a.mayJoin(c); err != nil {
			return err
		}
		reply, id, err := client.Join(ctx, t)
		if err == nil {
			_, err = client.NewTCP(t.Address, id)
		}
		if err != nil {
			return notJoined(ctx, err)
		}
		c.CA, c.Certificate, c.Key = id.CA, id.Certificate, id.Key
		a.note("joined as %s, role %s", reply.Name, reply.Role)
		return a.addContext(ctx, c, reply.Name, use)
	})
	return cmd
}

// mayJoin refuses what no context can be, before a token is spent on it.
func (a *app) mayJoin(c remoteContext) error {
	if _, err := parseEndpoint(c.Endpoint); err != nil {
		return err
	}
	all, err := a.readContexts()
	if err != nil || c.Name == "" {
		return err
	}
	if err := checkContext(c.Name); err != nil {
		return err
	}
	return all.free(c.Name)
}

// notJoined tells an engine that can't be reached from one that is not to be trusted,
// or that does not take the token.
func notJoined(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	f := &failure{code: exitUnsafe, kind: "unsafe", message: err.Error(), hint: "arcbox engine invite, on the engine's host", cause: err}
	late, _ := errors.AsType[net.Error](err)
	op, _ := errors.AsType[*net.OpError](err)
	if op != nil && op.Op == "dial" || late != nil && late.Timeout() {
		f.code, f.kind, f.hint = exitNoEngine, "unavailable", "arcbox engine clients, on the engine's host"
	}
	return f
}

type clientJSON struct {
	Name        string     `json:"name"`
	Role        string     `json:"role"`
	Invited     bool       `json:"invited"`
	Since       *time.Time `json:"since,omitempty"`
	Expires     *time.Time `json:"expires,omitempty"`
	Connections uint32     `json:"connections"`
}

func newEngineClients(a *app) *cobra.Command {
	l := clientListing(a)
	cmd := &cobra.Command{
		Use:   "clients",
		Short: "List who may use this engine from other hosts",
		Args:  noArgs,
	}
	listFlags(a, cmd, l)
	cmd.RunE = a.verb(asking(a.running, func(ctx context.Context, e engine, _ []string) error {
		all, err := ask[*wire.RemoteClients](ctx, e, &wire.ListClients{})
		if err != nil {
			return err
		}
		if all.GetListen() == "" {
			a.note("the engine listens for no other host; arcbox engine stop; arcbox engine start --listen tcp://ADDRESS:PORT")
		}
		return l.print(a, all.GetClients(), "no clients yet; arcbox engine invite --name NAME lets one join")
	}))
	return cmd
}

func clientListing(a *app) *listing[*wire.RemoteClient] {
	type row = *wire.RemoteClient
	state := func(c row) string {
		if c.GetInvited() {
			return "invited"
		}
		return count(c.GetConnections()) + " open"
	}
	return &listing[row]{
		names: func(c row) []string { return []string{c.GetName()} },
		view: func(c row) any {
			return clientJSON{c.GetName(), c.GetRole(), c.GetInvited(), wireTime(c.GetSinceUnixNanos()), wireTime(c.GetExpiresUnixNanos()), c.GetConnections()}
		},
		columns: []column[row]{
			{name: "name", text: row.GetName, match: like(row.GetName)},
			{name: "role", text: row.GetRole, match: like(row.GetRole)},
			{name: "connections", text: state, match: like(state), rank: func(c row) int64 { return int64(c.GetConnections()) }},
			{name: "expires", text: func(c row) string { return a.when(c.GetExpiresUnixNanos()) }, rank: row.GetExpiresUnixNanos},
		},
	}
}

func newEngineRevoke(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "revoke NAME",
		Short: "Take a client's or an invitation's right away, at once",
		Long:  "Take a client's or an invitation's right away. It is on disk, and what the client has\nopen is cut, when this command is done.",
		Args:  wordArgs(1, "the name of a client is needed", "client", checkClient),
		RunE: a.verb(asking(a.running, func(ctx context.Context, e engine, args []string) error {
			r, err := ask[*wire.Revoked](ctx, e, &wire.RevokeClient{Request: request(), Name: args[0]})
			if err == nil {
				a.note("revoked %s; %d connections were cut", args[0], r.GetCut())
			}
			return err
		})),
	}
}

// listenFlag checks tcp://ADDRESS:PORT before an engine is started that would refuse it.
func listenFlag(text string) error {
	address, isTCP := strings.CutPrefix(text, "tcp://")
	_, port, err := net.SplitHostPort(address)
	if _, bad := strconv.ParseUint(port, 10, 16); !isTCP || err != nil || bad != nil {
		return badInput("listen", "--listen %q: tcp://ADDRESS:PORT is needed", shorten(text, 80))
	}
	return nil
}

// address is HOST:PORT of a tcp endpoint.
func (e endpoint) address() string { return net.JoinHostPort(e.host, e.port) }
