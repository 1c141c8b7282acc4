package main

import (
	"errors"
	"fmt"
	"net"
	"sync/atomic"

	"github.com/arcboxlabs/arcbox-engine/actors"
)

// networkNews carries what the network says to the engine, once there is one:
// the network is there first, and what it says before then it says again.
type networkNews struct{ engine atomic.Pointer[actors.Engine] }

func (n *networkNews) to(e *actors.Engine) { n.engine.Store(e) }

func (n *networkNews) said(id string, s actors.NetworkState) {
	if e := n.engine.Load(); e != nil {
		e.NetworkSaid(id, s)
	}
}

// freePort is an address of this host with a port that nobody listens at now.
func freePort(protocol, address string) (string, error) {
	if protocol == "udp" {
		c, err := net.ListenPacket("udp", address)
		if err != nil {
			return "", plainListen(err)
		}
		defer func() { _ = c.Close() }()
		return c.LocalAddr().String(), nil
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return "", plainListen(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String(), nil
}

func plainListen(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		err = op.Err
	}
	return fmt.Errorf("no port is free: %w", err)
}
