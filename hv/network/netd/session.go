package netd

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/arcboxlabs/arcbox-engine/hv/network"
	"github.com/arcboxlabs/arcbox-engine/hv/network/api"
)

const (
	writeTime = 10 * time.Second
	// sayPause is between two rounds of news: what a guest causes comes in few
	// lines.
	sayPause = 50 * time.Millisecond
)

// session is one engine's connection.
type session struct {
	d    *daemon
	turn uint64     // the newest is the session
	mu   sync.Mutex // of writing
	conn net.Conn
	done chan struct{} // it says nothing more
	gone chan struct{} // and another may be the session
}

// newSession takes a connection's turn.
func (d *daemon) newSession(c net.Conn) *session {
	return &session{d: d, turn: d.turns.Add(1), conn: c, done: make(chan struct{}), gone: make(chan struct{})}
}

// serve serves an engine until it goes, or a newer one comes.
func (s *session) serve() error {
	d, c := s.d, s.conn
	defer func() { _ = c.Close() }()
	if err := s.write(api.Line{Hello: &api.Hello{Version: d.version, Started: d.started}}); err != nil {
		return err
	}
	if !d.enter(s) {
		return network.ErrClosed
	}
	defer d.leave(s)
	var telling sync.WaitGroup
	telling.Go(s.tell)
	err := s.read()
	_ = c.Close()
	close(s.done)
	telling.Wait() // what it would take is the next one's to tell
	return err
}

// enter makes s the session, once the older one has ended: of what that one's
// engine has said, nothing is carried out behind what s says. One that a newer one
// has overtaken on the way here is none.
func (d *daemon) enter(s *session) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for d.now != nil && d.now.turn < s.turn {
		old := d.now
		_ = old.conn.Close()
		d.mu.Unlock()
		<-old.gone
		d.mu.Lock()
	}
	if d.closed || s.turn < d.entered {
		return false
	}
	d.now, d.entered, d.served = s, s.turn, true
	for id := range d.machines {
		d.note(id)
	}
	d.rest()
	return true
}

func (d *daemon) leave(s *session) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.now = nil
	close(s.gone)
	d.rest()
}

// read carries out what the engine says.
func (s *session) read() error {
	lines := api.NewLines(s.conn)
	known := map[string]bool{}
	for {
		line, err := lines.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("session: %w", err)
		case line.Set != nil:
			known[line.Set.ID] = true
			if err := s.d.set(*line.Set); err != nil {
				if err := s.write(api.Line{Refused: &api.Refused{ID: line.Set.ID, Error: err.Error()}}); err != nil {
					return err
				}
			}
		case line.Drop != "":
			delete(known, line.Drop)
			s.d.drop(line.Drop)
		case line.All:
			s.d.only(known)
		}
	}
}

// tell writes the news until the session is over.
func (s *session) tell() {
	for {
		select {
		case <-s.done:
			return
		case <-s.d.notes:
		}
		s.d.linkChanged()
		for _, id := range s.d.noted() {
			state, ok := s.d.state(id)
			if !ok {
				continue
			}
			if s.write(api.Line{State: &state}) != nil {
				_ = s.conn.Close() // its reader ends the session; the next is told of all
				return
			}
		}
		select {
		case <-s.done:
			return
		case <-time.After(sayPause):
		}
	}
}

func (s *session) write(l api.Line) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.conn.SetWriteDeadline(time.Now().Add(writeTime))
	return api.Write(s.conn, l)
}

// linkChanged looks whether there is anything to do still.
func (d *daemon) linkChanged() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.rest()
}

// state is how a machine does.
func (d *daemon) state(id string) (api.State, bool) {
	d.mu.Lock()
	a := d.machines[id]
	policy := ""
	if a != nil {
		policy = a.egress
	}
	d.mu.Unlock()
	stats, ok := d.net.Stats(id)
	if a == nil || !ok {
		return api.State{}, false
	}
	st := api.State{ID: id, Linked: stats.Linked, Denied: stats.Denied, Egress: policy}
	st.Forwards, st.AutoTrouble = a.forwards()
	for _, x := range stats.Denials {
		to := x.To.String()
		switch {
		case x.Name != "":
			to = x.Name
		case x.To.Port() == 0: // a protocol without ports
			to = x.To.Addr().String()
		}
		st.Denials = append(st.Denials, x.Protocol+" "+to)
	}
	return st, true
}
