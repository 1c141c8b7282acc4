package netd

import (
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	"github.com/arcboxlabs/arcbox-engine/guest"
	"github.com/arcboxlabs/arcbox-engine/guest/wire"
	"github.com/arcboxlabs/arcbox-engine/hv/network/api"
	vmapi "github.com/arcboxlabs/arcbox-engine/hv/vmhost/api"
)

// fakeGuest is an agent behind a VM host: it tells what it is given to tell.
type fakeGuest struct {
	wire.UnimplementedAgentServer
	said chan []*wire.Listener
	gone chan struct{} // ends a stream, once a token
	come chan string   // somebody connects at this path
}

func (g *fakeGuest) Hello(context.Context, *wire.HelloRequest) (*wire.HelloReply, error) {
	return &wire.HelloReply{Protocol: wire.Protocol, Abilities: []string{wire.AbilityListeners, wire.AbilityListen}}, nil
}

func (g *fakeGuest) Listeners(_ *wire.ListenersRequest, s grpc.ServerStreamingServer[wire.ListenersReply]) error {
	for {
		select {
		case list := <-g.said:
			if err := s.Send(&wire.ListenersReply{Listeners: list}); err != nil {
				return err
			}
		case <-g.gone:
			return io.EOF
		case <-s.Context().Done():
			return nil
		}
	}
}

func (g *fakeGuest) Listen(req *wire.ListenRequest, s grpc.ServerStreamingServer[wire.ListenReply]) error {
	err := s.Send(&wire.ListenReply{})
	for err == nil {
		select {
		case path := <-g.come:
			if path != req.GetPath() {
				return io.ErrUnexpectedEOF
			}
			err = s.Send(&wire.ListenReply{Key: make([]byte, wire.BesideKey)})
		case <-s.Context().Done():
			return nil
		}
	}
	return err
}

// dialled is what a VM host hands over.
type dialled struct {
	conns chan net.Conn
	once  chan struct{}
}

func (d dialled) Accept() (net.Conn, error) {
	select {
	case c := <-d.conns:
		return c, nil
	case <-d.once:
		return nil, net.ErrClosed
	}
}
func (d dialled) Close() error   { close(d.once); return nil }
func (d dialled) Addr() net.Addr { return &net.UnixAddr{} }

// newGuest serves a guest in a machine's place.
func newGuest(t *testing.T, m *api.Machine) *fakeGuest {
	t.Helper()
	dir, err := os.MkdirTemp("", "netd") // short: sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	m.Host = dir
	path, err := vmapi.SocketPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	g := &fakeGuest{said: make(chan []*wire.Listener), gone: make(chan struct{}), come: make(chan string)}
	s, dials := grpc.NewServer(), dialled{make(chan net.Conn), make(chan struct{})}
	wire.RegisterAgentServer(s, g)
	go func() { _ = s.Serve(dials) }()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			var one [1]byte
			for one[0] != '\n' { // the request; what comes behind it is the agent's
				if _, err := c.Read(one[:]); err != nil {
					return
				}
			}
			if _, err := io.WriteString(c, `{"ok":true}`+"\n"); err == nil {
				dials.conns <- c
			}
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		s.Stop()
	})
	return g
}

// tell has the guest say that it listens at ports.
func (g *fakeGuest) tell(t *testing.T, ports ...int) {
	t.Helper()
	var list []*wire.Listener
	for _, p := range ports {
		list = append(list, &wire.Listener{Port: uint32(p)})
	}
	select {
	case g.said <- list:
	case <-time.After(patience):
		t.Fatal("nobody wants to know")
	}
}

// await waits until a machine's state is as ok wants it.
func await(t *testing.T, lines *api.Lines, what string, ok func(api.State) bool) {
	t.Helper()
	for {
		l, err := lines.Next()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if l.State != nil && ok(*l.State) {
			return
		}
	}
}

// TestAutoPorts: forwards come and go with what a guest listens at; one whose port of
// the host is taken says so, and by whom where it is another machine's, and has it when
// it is free. A guest that has gone leaves them as they are.
func TestAutoPorts(t *testing.T) {
	d := testDaemon(t)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := free.Addr().(*net.TCPAddr).Port
	a, b := testMachine(t, "a"), testMachine(t, "b")
	a.AutoPorts, b.AutoPorts = true, true
	guestA, guestB := newGuest(t, a), newGuest(t, b)
	c, lines := begin(t, d)
	_ = c.SetDeadline(time.Now().Add(3 * patience))
	go func() { _, _ = c.Write([]byte(text(t, api.Line{Set: a}))) }()
	forwards := func(id, why string, n int) func(api.State) bool {
		return func(s api.State) bool {
			if s.ID != id || len(s.Forwards) != n || s.AutoTrouble != "" {
				return false
			}
			return n == 0 || s.Forwards[0].Auto && s.Forwards[0].To == strconv.Itoa(port) && s.Forwards[0].Error == why
		}
	}
	guestA.tell(t, port)
	await(t, lines, "the conflict", forwards("a", "address already in use", 1))
	_ = free.Close()
	await(t, lines, "the free port", forwards("a", "", 1))
	guestA.gone <- struct{}{}
	await(t, lines, "the guest's end", func(s api.State) bool {
		return strings.Contains(s.AutoTrouble, "does not tell") && len(s.Forwards) == 1
	})
	guestA.tell(t, port)
	await(t, lines, "the guest's return", forwards("a", "", 1))

	go func() { _, _ = c.Write([]byte(text(t, api.Line{Set: b}))) }()
	guestB.tell(t, port)
	await(t, lines, "the conflict of machines", forwards("b", "address already in use by a forward of machine a", 1))
	guestA.tell(t)
	await(t, lines, "the end", forwards("a", "", 0))
	await(t, lines, "the other's turn", forwards("b", "", 1))
	b.AutoPorts = false
	go func() { _, _ = c.Write([]byte(text(t, api.Line{Set: b}))) }()
	await(t, lines, "the end of the wish", forwards("b", "", 0))
}

// TestInwards: a guest's socket is there whether anybody listens on the host or not;
// that nobody does is said from the first who connects until somebody does.
func TestInwards(t *testing.T) {
	d := testDaemon(t)
	m := testMachine(t, "a")
	g := newGuest(t, m)
	own := filepath.Join(m.Host, "own")
	m.Forwards = []api.Forward{{Protocol: "unix", Listen: own, To: "/run/in", In: true}}
	c, lines := begin(t, d)
	go func() { _, _ = c.Write([]byte(text(t, api.Line{Set: m}))) }()
	is := func(why string) func(api.State) bool {
		return func(s api.State) bool { return len(s.Forwards) == 1 && s.Forwards[0].Error == why }
	}
	await(t, lines, "the socket", is(""))
	g.come <- "/run/in"
	await(t, lines, "the missing end", is("the host's socket: no such file or directory"))
	l, err := net.Listen("unix", own)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	g.come <- "/run/in"
	await(t, lines, "the other end", is(""))
	m.Forwards[0].In, m.Forwards[0].Protocol = true, "tcp"
	if err := d.set(*m); err == nil || !strings.Contains(err.Error(), "only a socket") {
		t.Errorf("a port inwards: %v", err)
	}
}

// However many keys a guest sends, few are on their way to it at once: the others wait
// for their turn, and not for ever.
func TestInwardsTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &attached{d: &daemon{log: slog.New(slog.DiscardHandler)}, host: t.TempDir()}
		f := &forward{a: a, ctx: t.Context(), dials: make(chan struct{}, maxDialing)}
		for range maxDialing {
			f.dials <- struct{}{}
		}
		begun := time.Now()
		f.leadIn(guest.Key{})
		if waited := time.Since(begun); waited != guestTime {
			t.Errorf("it waited %s", waited)
		}
	})
}
