package endpoint

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/remote"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

func TestWhoIsAllowed(t *testing.T) {
	own := uint32(os.Geteuid())
	for uid, want := range map[uint32]bool{0: true, own: true, own + 1: false, own + 1000: false, ^uint32(0): false} {
		if got := ownOrRoot(uid); got != want {
			t.Errorf("user %d is allowed: %t, want %t", uid, got, want)
		}
	}
}

func TestPrincipalIsTheKernelsWord(t *testing.T) {
	e := startEngine(t, Limits{}, ownOrRoot)
	r := connected(t, e)
	b := batch(wire.Supervisor, &wire.InspectMachine{Name: "web"})
	b.Envelopes[0].MessageHeader = &remote.MessageHeader{HeaderData: map[string]string{HeaderPrincipal: "uid:0", "trace": "x"}}
	r.send(batchOf(b))
	m, err := r.reply()
	if err != nil {
		t.Fatal(err)
	}
	got := m.(*wire.Machine)
	if got.Desired != ownUID() || got.Dir != HeaderPrincipal || got.Address != r.address {
		t.Errorf("the actor saw principal %q, headers %q, sender %q; want %q, %q, %q",
			got.Desired, got.Dir, got.Address, ownUID(), HeaderPrincipal, r.address)
	}
	if Principal(nil) != "" {
		t.Error("a message without headers has a principal")
	}
}

func TestClientGoneComesLast(t *testing.T) {
	e := startEngine(t, Limits{}, ownOrRoot)
	r := connected(t, e)
	_ = r.conn.Close()
	select {
	case got := <-e.gone:
		if got != r.address {
			t.Errorf("gone is %q, want %q", got, r.address)
		}
	case <-time.After(patience):
		t.Fatal("no ClientGone")
	}
	// A late answer goes nowhere, and is no dead letter to be answered.
	e.system.Root.Send(actor.NewPID(r.address, "$1"), &wire.Done{})
}

func TestNoActorMeansUnavailable(t *testing.T) {
	e := startEngine(t, Limits{}, ownOrRoot)
	r := connected(t, e)
	r.send(batchOf(batch(wire.Journal, &wire.QueryJournal{})))
	m, err := r.reply()
	if refused, ok := m.(*wire.Refused); err != nil || !ok || refused.Code != wire.Code_CODE_UNAVAILABLE {
		t.Errorf("answered with %v, %v", m, err)
	}
}

func TestReplyThatIsTooBig(t *testing.T) {
	e := startEngine(t, Limits{}, ownOrRoot)
	r := connected(t, e)
	r.send(batchOf(batch(wire.Supervisor, &wire.EngineStatus{})))
	m, err := r.reply()
	if refused, ok := m.(*wire.Refused); err != nil || !ok || refused.Code != wire.Code_CODE_INTERNAL {
		t.Errorf("answered with %v, %v", m, err)
	}
}

func TestCloseSendsWhatWasSaid(t *testing.T) {
	e := startEngine(t, Limits{}, ownOrRoot)
	r := connected(t, e)
	for range 100 {
		e.system.Root.Send(actor.NewPID(r.address, "$1"), &wire.Done{Seq: 1})
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	e.gateway.Close(ctx)
	for i := range 100 {
		if _, err := r.reply(); err != nil {
			t.Fatalf("reply %d: %v", i, err)
		}
	}
	if _, err := r.reply(); status.Code(err) != codes.Unavailable {
		t.Errorf("then %v, want Unavailable", err)
	}
}

// A socket that somebody else put in the place of ours is not ours to remove.
func TestCloseLeavesTheNextSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b.sock")
	first, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	next, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if c, err := net.Dial("unix", path); err != nil {
		t.Errorf("the next one is gone: %v", err)
	} else if err := errors.Join(c.Close(), next.Close()); err != nil {
		t.Error(err)
	}
}

func TestListen(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a", "b.sock")
	lis, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	for p, want := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700} {
		if info, err := os.Stat(p); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, %v; want %v", p, info.Mode(), err, want)
		}
	}
	if _, err := Listen(path); !errors.Is(err, ErrInUse) {
		t.Errorf("a served socket: %v, want ErrInUse", err)
	}
	if err := lis.(*ownSocket).UnixListener.Close(); err != nil { // as if it had died
		t.Fatal(err)
	}
	lis, err = Listen(path) // a stale one is replaced
	if err != nil {
		t.Fatal(err)
	}
	if err := lis.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a closed socket is there still: %v", err)
	}
}

func TestListenRefuses(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	shared := filepath.Join(dir, "shared")
	if err := os.Mkdir(shared, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(shared, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"relative.sock":                      "not absolute",
		"/tmp/" + strings.Repeat("x", 120):   "ARCBOX_HOME",
		file:                                 "no socket",
		filepath.Join(file, "engine.sock"):   "directory",
		filepath.Join(shared, "engine.sock"): "0700",
	} {
		if _, err := Listen(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Listen(%q): %v, want %q", path, err, want)
		}
	}
	if _, err := os.Stat(file); err != nil {
		t.Errorf("the file in the way: %v", err)
	}
}
