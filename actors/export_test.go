package actors

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/fsm"
	"github.com/arcboxlabs/arcbox-engine/guest/tree"
)

// desk gives out tickets; whoever shows one gets a connection.
type desk struct {
	mu   sync.Mutex
	open []func(context.Context, *net.UnixConn) error
}

func (d *desk) issue(_ string, open func(context.Context, *net.UnixConn) error) (string, string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open = append(d.open, open)
	return "/socket", "ticket"
}

// show opens the stream of the last ticket.
func (d *desk) show(t *testing.T) (conn net.Conn, ended <-chan error) {
	t.Helper()
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]net.Conn
	for i, fd := range pair {
		syscall.CloseOnExec(fd)
		f := os.NewFile(uintptr(fd), "pair")
		if ends[i], err = net.FileConn(f); err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
	}
	d.mu.Lock()
	open := d.open[len(d.open)-1]
	d.mu.Unlock()
	done := make(chan error, 1)
	go func() { done <- open(t.Context(), ends[1].(*net.UnixConn)) }()
	t.Cleanup(func() { _ = ends[0].Close() })
	return ends[0], done
}

// shelf holds disks and locks of machines, each a word.
type shelf struct {
	barren
	mu      sync.Mutex
	held    map[string]bool
	went    chan struct{} // a disk may be read to its end
	dropped []string
	adopted []string
	owned   chan string
}

type shelfLock struct {
	s  *shelf
	id string
}

func (l shelfLock) Close() error {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	delete(l.s.held, l.id)
	return nil
}

func (s *shelf) Look(_ context.Context, ref Ref, _ string) (Sight, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held[ref.ID] {
		return Sight{Found: fsm.HeldMute}, nil
	}
	s.held[ref.ID] = true
	return Sight{Found: fsm.Free, Lock: shelfLock{s, ref.ID}}, nil
}

func (s *shelf) Delete(_ context.Context, _ Ref, l Lock) error { return l.Close() }

func (s *shelf) Kill(context.Context, Ref) error { return nil }

func (s *shelf) Send(ctx context.Context, _ Ref, to net.Conn) error {
	err := tree.SendStream(ctx, strings.NewReader("the disk"), tree.Into(to), &tree.Stats{})
	select {
	case <-s.went:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	return err
}

func (s *shelf) Receive(_ context.Context, from net.Conn) (string, error) {
	var b [4]byte
	if _, err := io.ReadFull(from, b[:]); err != nil || string(b[:]) != "good" {
		return "", errors.New("what came is no disk\nat all")
	}
	return "stage", nil
}

func (s *shelf) Drop(stage string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropped = append(s.dropped, stage)
}

func (s *shelf) Adopt(_ context.Context, ref Ref, stage string, _ int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.adopted = append(s.adopted, ref.Name+" "+stage)
	return nil
}

func (s *shelf) Own(_ context.Context, ref Ref) error {
	s.owned <- ref.Name
	return nil
}

func (s *shelf) Keep(context.Context, Ref, []byte) error { return nil }
func (s *shelf) Forget(context.Context, Ref) error       { return nil }
func (s *shelf) Provision(context.Context, Ref, fsm.Provision) (fsm.ProvisionedFact, error) {
	return fsm.ProvisionedFact{}, nil
}

func startShelf(t *testing.T) (*testEngine, *shelf, *desk) {
	t.Helper()
	s, d := &shelf{held: map[string]bool{}, went: make(chan struct{}), owned: make(chan string, 8)}, &desk{}
	e := startTestEngineWith(t, func(o *Options) {
		s.barren = o.Dirs.(barren)
		o.Hosts, o.Dirs, o.Disks, o.Provisions, o.Tickets = s, s, s, s, d.issue
		o.HoldImage = func(string) (func(), error) { return func() {}, nil }
	})
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e, s, d
}

func came(name string) *wire.CreateMachine {
	m := create(name)
	m.Stage, m.Spec.Image, m.Spec.Disk = "stage", "sha256:"+strings.Repeat("0", 64), 1<<30
	return m
}

// While its disk is read a machine does not start, and when the client has all of
// it, it does.
func TestExportHoldsTheMachine(t *testing.T) {
	e, s, d := startShelf(t)
	if m, ok := e.ask(t, came("web")).(*wire.Done); !ok {
		t.Fatal(m)
	}
	if name := <-s.owned; name != "web" || strings.Join(s.adopted, ",") != "web stage" {
		t.Errorf("%s owns, adopted %v", name, s.adopted)
	}
	out, ok := e.ask(t, &wire.ExportMachine{Name: "web"}).(*wire.Exporting)
	if !ok || out.GetTicket().GetTicket() != "ticket" || out.GetMachine().GetSpec().GetDisk() != 1<<30 {
		t.Fatal(out)
	}
	conn, ended := d.show(t)
	next := tree.From(conn)
	for range 3 { // an entry, its content, its end
		if _, err := next(); err != nil {
			t.Fatal(err)
		}
	}
	for msg, code := range map[proto.Message]wire.Code{
		&wire.StartMachine{Name: "web"}: wire.Code_CODE_CONFLICT, &wire.RestartMachine{Name: "web"}: wire.Code_CODE_CONFLICT,
		&wire.ExportMachine{Name: "web"}: wire.Code_CODE_CONFLICT, &wire.RemoveMachine{Name: "web"}: wire.Code_CODE_UNSAFE,
	} {
		r, ok := e.ask(t, msg).(*wire.Refused)
		if !ok || r.GetCode() != code || !strings.Contains(r.GetMessage(), "exported by engine") || r.GetHint() == "" {
			t.Errorf("%T: %v", msg, r)
		}
	}
	close(s.went)
	if _, err := next(); !errors.Is(err, io.EOF) {
		t.Errorf("its end: %v", err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	// At once: whoever has heard the end may start it. Here a start gets as far as
	// the host.
	if r := e.ask(t, &wire.StartMachine{Name: "web"}).(*wire.Refused); !strings.Contains(r.GetMessage(), "barren") {
		t.Error(r)
	}
}

// rm -f ends an export, and a client that goes away does, too.
func TestExportEnds(t *testing.T) {
	e, s, d := startShelf(t)
	for _, name := range []string{"web", "db"} {
		if m, ok := e.ask(t, came(name)).(*wire.Done); !ok {
			t.Fatal(m)
		}
	}
	if _, ok := e.ask(t, &wire.ExportMachine{Name: "web"}).(*wire.Exporting); !ok {
		t.Fatal("not exported")
	}
	conn, ended := d.show(t)
	next := tree.From(conn)
	if _, err := next(); err != nil {
		t.Fatal(err)
	}
	if done, ok := e.ask(t, &wire.RemoveMachine{Name: "web", Force: true}).(*wire.Done); !ok {
		t.Fatal(done)
	}
	var failed *tree.FailedError
	for err := error(nil); !errors.As(err, &failed); {
		if _, err = next(); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatal(err)
		}
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	late, lateEnded := d.show(t) // the same ticket, of a machine that is gone
	if _, err := tree.From(late)(); !errors.As(err, &failed) {
		t.Errorf("an export of what is gone: %v", err)
	}
	if err := <-lateEnded; err != nil {
		t.Error(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.held) != 0 {
		t.Errorf("locks are held: %v", s.held)
	}
}

// What can't be exported is refused by what is in the way, with the next command.
func TestExportRefuses(t *testing.T) {
	e, _, _ := startShelf(t)
	if r := e.ask(t, &wire.ExportMachine{Name: "none"}).(*wire.Refused); r.GetCode() != wire.Code_CODE_NOT_FOUND {
		t.Error(r)
	}
	if m, ok := e.ask(t, create("bare")).(*wire.Done); !ok {
		t.Fatal(m)
	}
	if out := e.ask(t, &wire.ExportMachine{Name: "bare"}).(*wire.Exporting); out.GetTicket() != nil || out.GetMachine().GetName() != "bare" {
		t.Errorf("without a disk: %v", out)
	}
	plain := startTestEngine(t)
	defer func() { _ = plain.Close() }()
	if m, ok := plain.ask(t, create("web")).(*wire.Done); !ok {
		t.Fatal(m)
	}
	for _, msg := range []proto.Message{&wire.ExportMachine{Name: "web"}, &wire.StageDisk{}, came("other")} {
		if r := plain.ask(t, msg).(*wire.Refused); r.GetCode() != wire.Code_CODE_LACKING {
			t.Errorf("%T: %v", msg, r)
		}
	}
	noImage := came("odd")
	noImage.Spec.Image, noImage.Spec.Disk = "", 0
	if r := e.ask(t, noImage).(*wire.Refused); r.GetCode() != wire.Code_CODE_BAD_INPUT {
		t.Error(r)
	}
}

// A disk that came is there as long as its sender is.
func TestStageDisk(t *testing.T) {
	e, s, d := startShelf(t)
	for sent, want := range map[string]string{"good": "ok stage\n", "evil": "error: what came is no disk at all\n"} {
		if ticket, ok := e.ask(t, &wire.StageDisk{}).(*wire.Ticket); !ok {
			t.Fatal(ticket)
		}
		conn, ended := d.show(t)
		if _, err := io.WriteString(conn, sent); err != nil {
			t.Fatal(err)
		}
		if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(want))
		if _, err := io.ReadFull(conn, got); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", sent, got, err)
		}
		s.mu.Lock()
		if len(s.dropped) > 0 && sent == "good" {
			t.Error("dropped too early")
		}
		s.mu.Unlock()
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		if err := <-ended; (err == nil) != (sent == "good") {
			t.Errorf("%s: %v", sent, err)
		}
		s.mu.Lock()
		if sent == "good" && strings.Join(s.dropped, ",") != "stage" {
			t.Errorf("dropped: %v", s.dropped)
		}
		s.dropped = nil
		s.mu.Unlock()
	}
}
