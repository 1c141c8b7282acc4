package actors

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/fsm"
)

// stageDisk authorises the sending of a disk that no machine has yet.
func (s *supervisor) stageDisk(ctx actor.Context) {
	var err error
	switch {
	case s.goesDown():
		err = goingDown()
	case s.Disks == nil || s.Provisions == nil:
		err = refuse(wire.Code_CODE_LACKING, versionsHint, "this engine imports no machines")
	case s.Journal.DiskLow():
		err = refuse(wire.Code_CODE_LACKING, "df -h "+s.Home, "the disk of %s is nearly full: stop and rm work, import does not", s.Home)
	}
	if err != nil {
		s.reply(ctx, refused(err, nil))
		return
	}
	in := s.shared
	socket, ticket := s.Tickets(principalOf(ctx), func(ctx context.Context, conn *net.UnixConn) error { return in.takeDisk(ctx, conn) })
	s.reply(ctx, &wire.Ticket{Socket: socket, Ticket: ticket})
}

// takeDisk keeps what a client sends, as long as the client is there. So nothing of
// a command that was killed stays.
func (s *shared) takeDisk(ctx context.Context, conn net.Conn) error {
	defer func() { _ = conn.Close() }()
	stage, err := s.Disks.Receive(ctx, conn)
	if err != nil {
		_, said := io.WriteString(conn, "error: "+strings.ReplaceAll(err.Error(), "\n", " ")+"\n")
		return errors.Join(err, said)
	}
	defer s.Disks.Drop(stage)
	if _, err := io.WriteString(conn, "ok "+stage+"\n"); err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, conn) // its end is all that counts
	return nil
}

// mayAdopt refuses a create with a disk that can't be the machine's.
func (m *machine) mayAdopt(spec fsm.Spec, stage string) error {
	switch {
	case stage == "":
		return nil
	case m.Disks == nil || m.Provisions == nil:
		return refuse(wire.Code_CODE_LACKING, versionsHint, "this engine imports no machines")
	case spec.Image == "":
		return badInput("stage", "a disk that comes with the machine: only a machine with an image has one")
	case spec.Provision != nil:
		return badInput("provision", "a machine that comes with its disk was set up before")
	}
	return nil
}

// adoptFirst makes the disk that came the machine's before anybody is told that
// there is a machine. Where the engine dies in between, the next one takes it away.
func (m *machine) adoptFirst(mk *making, stage string) {
	m.making = mk
	s, ref := m.shared, m.ref
	m.runOdd("adopt", func(ctx context.Context, _ func(any)) any {
		limited, cancel := within(ctx, s.Clock, keepTime)
		defer cancel()
		err := s.Disks.Adopt(limited, ref, stage, mk.spec.Disk)
		if mk.of != nil { // one that came goes with its connection
			s.Disks.Drop(stage)
		}
		return kept{err}
	})
}

// keepDisk makes the disk of a machine that was never started its own for good. It
// is done again by each engine, since one may have died before.
func (m *machine) keepDisk() {
	st := m.state()
	if m.Disks == nil || st.Dir || !slices.Contains(st.Disks, fsm.DataDisk) || !fsm.May(st.State, fsm.KindStartRequested) {
		return
	}
	s, ref := m.shared, m.ref
	m.runOdd("own", func(ctx context.Context, _ func(any)) any {
		limited, cancel := within(ctx, s.Clock, keepTime)
		defer cancel()
		if err := s.Disks.Own(limited, ref); err != nil {
			s.Log.Warn("own the disk", "machine", ref.Name, "err", err)
		}
		return nil
	})
}
