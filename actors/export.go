package actors

import (
	"context"
	"errors"
	"net"
	"slices"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/fsm"
	"github.com/arcboxlabs/arcbox-engine/guest/tree"
)

// exportWork names the worker that reads a machine's disk.
const exportWork = "export"

// exporting is a machine's disk on its way to a client. The machine's lock is held
// meanwhile, so that nothing writes to it.
type exporting struct {
	ctx   context.Context // of the connection
	conn  net.Conn
	who   string
	begun chan struct{} // closed when the machine's actor has taken it up
	over  chan error    // takes one; the lock is free by then
}

// exported is what came of it.
type exported struct {
	e   *exporting
	err error
}

// export says what a machine is, and authorises the reading of its disk.
func (m *machine) export(c *command) error {
	if err := m.mayExport(); err != nil {
		return err
	}
	out := &wire.Exporting{Machine: m.onWire()}
	if slices.Contains(m.state().Disks, fsm.DataDisk) {
		s, self, id, who := m.shared, m.self, m.ref.ID, c.principal
		socket, ticket := s.Tickets(who, func(ctx context.Context, conn *net.UnixConn) error {
			defer func() { _ = conn.Close() }()
			e := &exporting{ctx: ctx, conn: conn, who: who, begun: make(chan struct{}), over: make(chan error, 1)}
			if _, there := s.view.ByID(id); !there {
				return tree.End(conn, errNotBegun)
			}
			s.send(self, e)
			return tree.End(conn, e.wait(s))
		})
		out.Ticket = &wire.Ticket{Socket: socket, Ticket: ticket}
	}
	m.answer(c, out)
	return nil
}

// errNotBegun is an export of a machine that was removed since it was asked for.
var errNotBegun = errors.New("the machine is not there any more")

// wait waits until the disk is sent, and the machine can be started again.
func (e *exporting) wait(s *shared) error {
	limited, cancel := within(e.ctx, s.Clock, lookTime)
	defer cancel()
	select {
	case <-e.begun:
	case <-limited.Done():
		return errNotBegun
	}
	select {
	case err := <-e.over:
		return err
	case <-e.ctx.Done():
		return context.Cause(e.ctx)
	}
}

// mayExport refuses what can't be read in peace.
func (m *machine) mayExport() error {
	if m.Disks == nil {
		return refuse(wire.Code_CODE_LACKING, versionsHint, "this engine exports no machines")
	}
	if err := m.alone(); err != nil {
		return err
	}
	if err := m.halfMachine("exported"); err != nil {
		return err
	}
	switch {
	case m.cloning != nil:
		return refuse(wire.Code_CODE_CONFLICT, "arcbox inspect "+m.ref.Name, "machine %q is %s: it can be exported when that has ended", m.ref.Name, m.busy())
	case m.exporting != nil:
		return refuse(wire.Code_CODE_CONFLICT, "arcbox inspect "+m.ref.Name, "machine %q is being exported by %s already", m.ref.Name, m.exporting.who)
	}
	return nil
}

// exportBegun: a client has come for the disk. Since it asked, much may have
// happened.
func (m *machine) exportBegun(e *exporting) {
	close(e.begun)
	err := m.mayExport()
	if err == nil && (m.unseen || m.start != nil || admissions[verbExport][m.state().State] == nil) {
		err = m.conflict(&command{verb: verbExport})
	}
	if err != nil {
		e.over <- err
		return
	}
	m.exporting = e
	s, ref := m.shared, m.ref
	m.runOdd(exportWork, func(ctx context.Context, _ func(any)) any {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(e.ctx, cancel)()
		return exported{e, s.underLock(ctx, ref, func() error { return s.Disks.Send(ctx, ref, e.conn) })}
	})
}

// exported: the disk is with the client, or it never will be.
func (m *machine) exported(w *work, r exported) {
	m.exporting = nil
	if w.called {
		r.err = refuse(wire.Code_CODE_CONFLICT, "arcbox list", "machine %q: its export was given up", m.ref.Name)
	}
	r.e.over <- r.err
	m.flush()
}
