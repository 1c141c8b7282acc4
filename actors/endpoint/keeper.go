package endpoint

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"regexp"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/arcboxlabs/arcbox-engine/actors/endpoint/trust"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

// Keeper answers questions and commands about clients of other hosts; it is the
// actor wire.Keeper.
type Keeper struct {
	Remote *Remote
	Listen string // where it serves; "" = nowhere
	// Keys are a machine's for logging in by SSH; its error is fs.ErrNotExist where it has none.
	Keys func(machine string) (*wire.LoginKeys, error)
}

// Receive implements actor.Actor.
func (k *Keeper) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *wire.InviteClient:
		ctx.Respond(k.invite(m))
	case *wire.ListClients:
		ctx.Respond(k.list())
	case *wire.RevokeClient:
		cut, err := k.Remote.Revoke(m.GetName())
		if err != nil {
			ctx.Respond(untrusted(err, m.GetName()))
			return
		}
		ctx.Respond(&wire.Revoked{Cut: uint32(cut)}) //nolint:gosec // bounded by the limits
	case *wire.LendKeys:
		ctx.Respond(k.lend(m.GetName(), ctx.MessageHeader().Get(HeaderPrincipal)))
	}
}

// machineName is a machine's name, and never a path.
var machineName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$`)

// lend hands out a machine's keys, with which whoever may open a connection to its
// guest can log in over that.
func (k *Keeper) lend(name, principal string) any {
	if !machineName.MatchString(name) {
		r := badInput("name", "name %q: 1 to 63 letters, digits and hyphens, with a letter or digit at both ends", short(name))
		r.Hint = "arcbox list"
		return r
	}
	keys, err := k.Keys(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &wire.Refused{
			Code: wire.Code_CODE_CONFLICT, Machine: name, Hint: "arcbox restart " + name + "\narcbox shell " + name,
			Message: fmt.Sprintf("machine %q has no SSH keys: it has never run, was started by an older engine, or is no real VM", name),
		}
	case err != nil:
		return &wire.Refused{Code: wire.Code_CODE_INTERNAL, Machine: name, Hint: "arcbox shell " + name, Message: fmt.Sprintf("the SSH keys of %s: %v", name, err)}
	}
	k.Remote.Log.Info("lent a machine's ssh keys", "machine", name, "principal", principal)
	return keys
}

func (k *Keeper) invite(m *wire.InviteClient) any {
	address := m.GetAddress()
	if address == "" {
		address = k.Listen
	}
	host, _, err := net.SplitHostPort(address)
	switch ip := net.ParseIP(host); {
	case k.Listen == "":
		return &wire.Refused{Code: wire.Code_CODE_CONFLICT, Message: "this engine listens for no other host", Hint: "arcbox engine stop; arcbox engine start --listen tcp://ADDRESS:PORT"}
	case err != nil, host == "", ip != nil && ip.IsUnspecified():
		return badInput("address", "address %q: HOST:PORT is needed, as the other host reaches this one (arcbox engine invite --address)", short(address))
	}
	secret, expires, err := k.Remote.Trust.Invite(m.GetName(), m.GetRole(), time.Duration(m.GetLifeNanos()))
	if err != nil {
		return untrusted(err, m.GetName())
	}
	token := wire.Token{Address: address, Pin: k.Remote.Trust.Pin(), Secret: secret}
	return &wire.Invited{Token: token.String(), ExpiresUnixNanos: expires.UnixNano()}
}

func (k *Keeper) list() *wire.RemoteClients {
	out := &wire.RemoteClients{Listen: k.Listen}
	for _, c := range k.Remote.Trust.Clients() {
		out.Clients = append(out.Clients, &wire.RemoteClient{
			Name: c.Name, Role: c.Role, Invited: c.Invited, SinceUnixNanos: c.Since.UnixNano(), ExpiresUnixNanos: c.Expires.UnixNano(),
			Connections: uint32(k.Remote.Open(c.Name)), //nolint:gosec // bounded by the limits
		})
	}
	return out
}

func untrusted(err error, name string) *wire.Refused {
	r := &wire.Refused{Code: wire.Code_CODE_INTERNAL, Field: "name", Message: err.Error(), Hint: "arcbox engine clients"}
	switch {
	case errors.Is(err, trust.ErrBad):
		r.Code, r.Hint = wire.Code_CODE_BAD_INPUT, "arcbox engine invite --help"
	case errors.Is(err, trust.ErrUnknown):
		r.Code, r.Message = wire.Code_CODE_NOT_FOUND, fmt.Sprintf("%v: %q", err, short(name))
	case errors.Is(err, trust.ErrTaken), errors.Is(err, trust.ErrFull):
		r.Code = wire.Code_CODE_CONFLICT
	}
	return r
}
