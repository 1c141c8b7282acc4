package actors

import (
	"context"
	"net"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/hv"
)

// maxTail is the most of a log that one request may ask for, in bytes; both
// halves of a log file together are not larger.
const maxTail = 64 << 20

// openGuest authorises a connection to the guest. The bytes flow on a second
// connection, which is handed to the VM host, so that they survive the engine.
func (m *machine) openGuest(c *command) error {
	if err := m.asleep("its guest answers nobody"); err != nil {
		return err
	}
	port := c.msg.(*wire.OpenGuest).GetPort()
	if port == 0 {
		port = hv.AgentPort
	}
	s, ref := m.shared, m.ref
	socket, ticket := s.Tickets(c.principal, func(ctx context.Context, conn *net.UnixConn) error {
		defer func() { _ = conn.Close() }()
		f, err := conn.File()
		if err != nil {
			return err
		}
		defer f.Close()
		return s.Guests.Open(ctx, ref, port, f)
	})
	m.answer(c, &wire.Ticket{Socket: socket, Ticket: ticket})
	return nil
}

// openLog authorises the reading of a log.
func (m *machine) openLog(c *command) error {
	msg := c.msg.(*wire.OpenLog)
	which := or(msg.GetWhich(), "console")
	if which != "console" && which != "agent" && which != "provision" {
		return &Refusal{Code: wire.Code_CODE_BAD_INPUT, Field: "which", Hint: "arcbox logs --help",
			Message: "log \"" + clip(which, 40) + "\": console, agent or provision"}
	}
	tail := msg.GetTail()
	if tail <= 0 || tail > maxTail {
		tail = maxTail
	}
	s, ref, follow := m.shared, m.ref, msg.GetFollow()
	socket, ticket := s.Tickets(c.principal, func(ctx context.Context, conn *net.UnixConn) error {
		defer func() { _ = conn.Close() }()
		return s.Dirs.Log(ctx, ref, which, tail, follow, conn)
	})
	m.answer(c, &wire.Ticket{Socket: socket, Ticket: ticket})
	return nil
}
