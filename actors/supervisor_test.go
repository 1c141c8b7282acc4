package actors

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"google.golang.org/protobuf/proto"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/fsm"
	"github.com/arcboxlabs/arcbox-engine/journal"
)

// wallClock is the host's; nothing here waits for it.
type wallClock struct{}

func (wallClock) Now() time.Time     { return time.Now() }
func (wallClock) Moment() fsm.Moment { return fsm.Moment{Boot: "boot"} }
func (wallClock) AfterFunc(d time.Duration, f func()) func() bool {
	return time.AfterFunc(d, f).Stop
}

// barren is a world with nothing in it. Asked for a path, it panics once per
// trip: in the middle of a machine's actor.
type barren struct {
	Hosts
	Guests
	trips *atomic.Int32
}

func (barren) Delete(context.Context, Ref, Lock) error                       { return nil }
func (barren) IDs(context.Context) ([]string, error)                         { return nil, nil }
func (barren) Tail(Ref) string                                               { return "" }
func (barren) Log(context.Context, Ref, string, int64, bool, net.Conn) error { return nil }
func (barren) Prepare(context.Context, Ref, fsm.Spec, []string) (Lock, []fsm.DiskFormattedFact, error) {
	return nil, nil, errors.New("barren")
}
func (b barren) Path(Ref) (string, string) {
	if b.trips.Add(-1) >= 0 {
		panic("tripped")
	}
	return "", ""
}

// lines is a log that a test reads.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) count(what string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.buf.String(), what)
}

type testEngine struct {
	*Engine
	trips *atomic.Int32
	log   *lines
	fatal chan error
}

func startTestEngine(t *testing.T) *testEngine {
	t.Helper()
	return startTestEngineWith(t, func(*Options) {})
}

func startTestEngineWith(t *testing.T, with func(*Options)) *testEngine {
	t.Helper()
	out := &testEngine{trips: &atomic.Int32{}, log: &lines{}, fatal: make(chan error, 8)}
	j, err := journal.Open("journal", journal.Options{FS: vfs.NewMem(), FreeSpace: func(string) (uint64, error) { return 1 << 40, nil }})
	if err != nil {
		t.Fatal(err)
	}
	world := barren{trips: out.trips}
	o := Options{
		Journal: j, Clock: wallClock{}, Hosts: world, Guests: world, Dirs: world, Limits: Limits{CPUs: 4, Memory: 1 << 40},
		Fatal: func(err error) { out.fatal <- err }, Log: slog.New(slog.NewTextHandler(out.log, nil)),
	}
	with(&o)
	if out.Engine, err = Start(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	})
	return out
}

// ask sends to the supervisor and waits for the answer.
func (e *testEngine) ask(t *testing.T, msg proto.Message) any {
	t.Helper()
	answer, err := e.s.sys.Root.RequestFuture(e.sup, msg, 10*time.Second).Result()
	if err != nil {
		t.Fatalf("%T: %v", msg, err)
	}
	return answer
}

func create(name string) *wire.CreateMachine {
	return &wire.CreateMachine{Name: name, Request: &wire.Request{}, Spec: &wire.Spec{Cpus: 1, Memory: 128 << 20}}
}

// TestEndIsQuiet: an engine that ends does not bring its machines' actors
// back, and does not fail.
func TestEndIsQuiet(t *testing.T) {
	e := startTestEngine(t)
	for _, name := range []string{"a", "b", "c"} {
		if m, ok := e.ask(t, create(name)).(*wire.Done); !ok {
			t.Fatalf("create %s: %v", name, m)
		}
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	if n := e.log.count("ended"); n != 0 || len(e.fatal) != 0 {
		t.Errorf("%d actors were missed; fatal: %d", n, len(e.fatal))
	}
}

// TestPanicOfAMachine: its requester gets an error, its actor comes back from
// the journal, and nothing else notices.
func TestPanicOfAMachine(t *testing.T) {
	e := startTestEngine(t)
	defer func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}()
	e.ask(t, create("a"))
	e.ask(t, create("b"))
	e.trips.Store(1)
	r, ok := e.ask(t, &wire.StopMachine{Name: "a", Request: &wire.Request{}}).(*wire.Refused)
	if !ok || r.GetCode() != wire.Code_CODE_INTERNAL || !strings.Contains(r.GetMessage(), "a bug in the engine") {
		t.Errorf("answered with %v", r)
	}
	for _, name := range []string{"a", "b"} {
		if d, ok := e.ask(t, &wire.StopMachine{Name: name, Request: &wire.Request{}}).(*wire.Done); !ok {
			t.Errorf("stop %s afterwards: %v", name, d)
		}
	}
	if n := e.log.count("actor panicked"); n != 1 {
		t.Errorf("panicked %d times", n)
	}
	select {
	case err := <-e.fatal:
		t.Error(err)
	default:
	}
}

// TestPanicIsAnswered: also where the supervisor is in between.
func TestPanicIsAnswered(t *testing.T) {
	for name, msg := range map[string]proto.Message{
		"rename": &wire.RenameMachine{Name: "a", NewName: "c", Request: &wire.Request{Id: "r"}},
		"clone":  &wire.CloneMachine{Name: "a", NewName: "c", Request: &wire.Request{Id: "r"}},
	} {
		t.Run(name, func(t *testing.T) {
			e := startTestEngine(t)
			e.ask(t, create("a"))
			e.trips.Store(1)
			if r, ok := e.ask(t, msg).(*wire.Refused); !ok || !strings.Contains(r.GetMessage(), "a bug in the engine") {
				t.Errorf("answered with %v", r)
			}
			if d, ok := e.ask(t, msg).(*wire.Done); !ok || !d.GetRepeated() || d.GetMachine().GetName() != "c" {
				t.Errorf("again: %v", d)
			}
			if err := e.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestPanicOfAStop: an engine that is to end with its machines ends, whatever becomes
// of one of them.
func TestPanicOfAStop(t *testing.T) {
	stopped := make(chan struct{})
	e := startTestEngineWith(t, func(o *Options) { o.Stopped = func() { close(stopped) } })
	e.ask(t, create("a"))
	e.ask(t, create("b"))
	e.trips.Store(1)
	if d, ok := e.ask(t, &wire.StopEngine{Machines: true}).(*wire.Done); !ok {
		t.Error(d)
	}
	<-stopped
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}

var _ io.Writer = (*lines)(nil)
