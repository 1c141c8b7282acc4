package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/arcboxlabs/arcbox-engine/actors"
	"github.com/arcboxlabs/arcbox-engine/actors/endpoint"
	"github.com/arcboxlabs/arcbox-engine/actors/endpoint/trust"
	"github.com/arcboxlabs/arcbox-engine/actors/hosts"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/cmd/internal/home"
)

// others is the door for clients of other hosts; lis is nil where it stays shut.
type others struct {
	remote *endpoint.Remote
	lis    net.Listener
}

// openRemote makes the door, and the actor that is asked who may come. Without
// --listen it says who could, and takes rights away.
func openRemote(
	h home.Home, listen string, system *actor.ActorSystem, gateway *endpoint.Gateway, tickets *endpoint.Tickets, log *slog.Logger,
) (*others, error) {
	store, err := trust.Open(h.Clients(), time.Now)
	if err != nil {
		return nil, err
	}
	o := &others{remote: endpoint.NewRemote(endpoint.RemoteOptions{Trust: store, Gateway: gateway, Tickets: tickets, Log: log})}
	keeper := &endpoint.Keeper{Remote: o.remote, Keys: func(name string) (*wire.LoginKeys, error) { return loginKeys(h.SSH(), name) }}
	if listen != "" {
		address, ok := strings.CutPrefix(listen, "tcp://")
		if !ok {
			return nil, badUsage(fmt.Errorf("--listen %q: tcp://ADDRESS:PORT is needed", listen), "arcbox-engine --help")
		}
		if o.lis, err = net.Listen("tcp", address); err != nil {
			return nil, unlistened(listen, err)
		}
		keeper.Listen = o.lis.Addr().String()
		log.Info("engine listens for other hosts", "address", keeper.Listen)
	}
	_, err = system.Root.SpawnNamed(actor.PropsFromProducer(func() actor.Actor { return keeper }), wire.Keeper)
	if err != nil {
		err = fmt.Errorf("clients of other hosts: %w", err)
		if o.lis != nil {
			err = errors.Join(err, o.lis.Close())
		}
		return nil, err
	}
	return o, nil
}

// loginKeys are a machine's as they go on the wire.
func loginKeys(dir, name string) (*wire.LoginKeys, error) {
	login, known, err := hosts.LoginKeys(dir, name)
	return &wire.LoginKeys{Login: login, KnownHosts: known}, err
}

// unlistened tells an address that is none from one that can't be had now.
func unlistened(listen string, err error) error {
	err = fmt.Errorf("--listen %s: %w", listen, err)
	if _, system := errors.AsType[syscall.Errno](err); !system {
		return badUsage(err, "arcbox-engine --help")
	}
	return &actors.Refusal{Code: wire.Code_CODE_LACKING, Field: "listen", Message: err.Error(), Hint: "ss -ltnp"}
}
