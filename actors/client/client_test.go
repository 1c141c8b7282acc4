package client_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/arcboxlabs/arcbox-engine/actors/client"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

func TestCall(t *testing.T) {
	socket := socketOf(t)
	startEngine(t, socket, newHistory(0), nil)
	c := dial(t, socket)
	list, err := client.Call[*wire.Machines](t.Context(), c, &wire.ListMachines{})
	if err != nil || list.Version != 7 {
		t.Fatalf("got %v, %v", list, err)
	}
	if _, err := client.Call[*wire.Done](t.Context(), c, &wire.ListMachines{}); err == nil || !strings.Contains(err.Error(), "wire.Machines") {
		t.Errorf("a reply of another type: %v", err)
	}
	if _, err := client.Call[*wire.Done](t.Context(), c, &wire.Done{}); err == nil {
		t.Error("a reply was taken for a request")
	}
}

func TestRefused(t *testing.T) {
	socket := socketOf(t)
	startEngine(t, socket, newHistory(0), nil)
	_, err := client.Call[*wire.Machine](t.Context(), dial(t, socket), &wire.InspectMachine{Name: "web"})
	var r *client.RefusedError
	if !errors.As(err, &r) {
		t.Fatalf("got %v", err)
	}
	want := client.RefusedError{wire.Code_CODE_NOT_FOUND, "no machine web", "arcbox list", "name", "web", "Running"}
	if *r != want || err.Error() != want.Message {
		t.Errorf("got %+v, want %+v", *r, want)
	}
}

func TestWhatCannotBeSent(t *testing.T) {
	socket := socketOf(t)
	startEngine(t, socket, newHistory(0), nil)
	c := dial(t, socket)
	for name, machine := range map[string]string{"too big": strings.Repeat("x", wire.MaxRequest), "no utf-8": "\xff", "refused by the gateway": strings.Repeat("x", 300)} {
		_, err := client.Call[*wire.Machine](t.Context(), c, &wire.InspectMachine{Name: machine})
		if r := new(client.RefusedError); !errors.As(err, &r) || r.Code != wire.Code_CODE_BAD_INPUT {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := client.Call[*wire.Machines](t.Context(), c, &wire.ListMachines{}); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestNoEngine(t *testing.T) {
	dir := t.TempDir()
	stale := filepath.Join(dir, "stale.sock")
	lis, err := net.Listen("unix", stale)
	if err != nil {
		t.Fatal(err)
	}
	lis.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = lis.Close()
	for _, socket := range []string{stale, filepath.Join(dir, "none.sock")} {
		if _, err := client.Dial(t.Context(), client.Socket(socket)); !errors.Is(err, client.ErrNoEngine) {
			t.Errorf("%s: %v", socket, err)
		}
		if _, err := client.Command(t.Context(), client.Socket(socket), &wire.StartMachine{Name: "web"}); !errors.Is(err, client.ErrNoEngine) {
			t.Errorf("%s: %v", socket, err)
		}
	}
	_, err = client.Dial(t.Context(), client.Socket(filepath.Join(dir, strings.Repeat("x", 200))))
	if err == nil || errors.Is(err, client.ErrNoEngine) || !strings.Contains(err.Error(), "ARCBOX_HOME") {
		t.Errorf("a path that is too long: %v", err)
	}
}

func TestMuteEngine(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "mute.sock")
	lis, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := client.Dial(ctx, client.Socket(socket)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestAskEnds(t *testing.T) {
	socket := socketOf(t)
	asked := make(chan struct{}, 16)
	e := startEngine(t, socket, newHistory(0), func(ctx actor.Context) {
		if _, ok := ctx.Message().(*wire.AwaitMachine); ok {
			asked <- struct{}{}
		}
	})
	c := dial(t, socket)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	go func() { _, err := c.Ask(ctx, wire.Supervisor, &wire.AwaitMachine{}); ended <- err }()
	<-asked
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
	go func() { _, err := c.Ask(t.Context(), wire.Supervisor, &wire.AwaitMachine{}); ended <- err }()
	<-asked
	e.stop()
	if err := <-ended; !errors.Is(err, client.ErrDisconnected) {
		t.Errorf("cut off: %v", err)
	}
	if _, err := c.Ask(t.Context(), wire.Supervisor, &wire.ListMachines{}); !errors.Is(err, client.ErrDisconnected) {
		t.Errorf("afterwards: %v", err)
	}
}

func TestManyAskAtOnce(t *testing.T) {
	socket := socketOf(t)
	startEngine(t, socket, newHistory(0), nil)
	c := dial(t, socket)
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			for range 20 {
				if _, err := client.Call[*wire.Machines](t.Context(), c, &wire.ListMachines{}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}

// TestReplyMeetsTimeout lets replies race with callers that give up.
func TestReplyMeetsTimeout(t *testing.T) {
	socket := socketOf(t)
	startEngine(t, socket, newHistory(0), nil)
	c := dial(t, socket)
	for i := range 500 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*time.Microsecond)
		_, err := c.Ask(ctx, wire.Supervisor, &wire.ListMachines{})
		cancel()
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
	}
}

func TestCommandResumes(t *testing.T) {
	socket := socketOf(t)
	requests := make(chan *wire.Request, 16)
	hang := func(ctx actor.Context) {
		if m, ok := ctx.Message().(*wire.StartMachine); ok {
			requests <- m.Request
		}
	}
	first := startEngine(t, socket, newHistory(0), hang)
	type outcome struct {
		done *wire.Done
		err  error
	}
	ended := make(chan outcome, 1)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	given := &wire.StartMachine{Name: "web"}
	go func() { d, err := client.Command(ctx, client.Socket(socket), given); ended <- outcome{d, err} }()
	before := <-requests
	first.stop()
	startEngine(t, socket, newHistory(0), func(ctx actor.Context) {
		hang(ctx)
		if _, ok := ctx.Message().(*wire.StartMachine); ok {
			ctx.Respond(&wire.Done{Seq: 9, Repeated: true})
		}
	})
	after := <-requests
	if before.Id == "" || before.Id != after.Id || before.PatienceNanos <= 0 || given.Request != nil {
		t.Errorf("asked with %v, then with %v; the caller's message is %v", before, after, given)
	}
	if o := <-ended; o.err != nil || o.done.Seq != 9 {
		t.Errorf("ended with %v, %v", o.done, o.err)
	}
}

// cutDoor keeps the connection that it made last.
type cutDoor struct {
	client.Socket
	last chan net.Conn
}

func (d cutDoor) Endpoint(ctx context.Context) (net.Conn, error) {
	c, err := d.Socket.Endpoint(ctx)
	if err == nil {
		d.last <- c
	}
	return c, err
}

// TestCommandThatCuts: one at which every engine ends the connection is not sent
// for ever.
func TestCommandThatCuts(t *testing.T) {
	d := cutDoor{client.Socket(socketOf(t)), make(chan net.Conn, 1)}
	asked := 0 // the supervisor's alone until Command has returned
	startEngine(t, string(d.Socket), newHistory(0), func(ctx actor.Context) {
		if _, ok := ctx.Message().(*wire.StartMachine); ok {
			asked++
			_ = (<-d.last).Close()
		}
	})
	_, err := client.Command(t.Context(), d, &wire.StartMachine{Name: "web"})
	if !errors.Is(err, client.ErrDisconnected) || !strings.Contains(err.Error(), "8 times") || asked != 8 {
		t.Errorf("asked %d times, ended with %v", asked, err)
	}
}

// TestCommandWithoutAnEngine: one whose engine was lost says that it waits, and gives
// up in time. Who comes back before that is asked again.
func TestCommandWithoutAnEngine(t *testing.T) {
	socket := socketOf(t)
	asked := make(chan struct{}, 16)
	mute := func(ctx actor.Context) {
		if _, ok := ctx.Message().(*wire.StartMachine); ok {
			asked <- struct{}{}
		}
	}
	type outcome struct {
		done *wire.Done
		err  error
	}
	ended, waits := make(chan outcome, 1), make(chan struct{}, 16)
	tell := client.TellAfter(time.Millisecond, func() { waits <- struct{}{} })
	command := func(most time.Duration) {
		d, err := client.Command(t.Context(), client.Socket(socket), &wire.StartMachine{Name: "web"}, client.GiveUpAfter(most), tell)
		ended <- outcome{d, err}
	}
	e := startEngine(t, socket, newHistory(0), mute)
	go command(50 * time.Millisecond)
	<-asked
	e.stop()
	if o := <-ended; !errors.Is(o.err, client.ErrAway) || !strings.Contains(o.err.Error(), "50ms; what was asked may have been carried out") || len(waits) != 1 {
		t.Errorf("ended with %v, told %d times", o.err, len(waits))
	}
	<-waits
	e = startEngine(t, socket, newHistory(0), mute)
	go command(patience)
	<-asked
	e.stop()
	<-waits
	startEngine(t, socket, newHistory(0), func(ctx actor.Context) {
		if _, ok := ctx.Message().(*wire.StartMachine); ok {
			ctx.Respond(&wire.Done{Seq: 9})
		}
	})
	if o := <-ended; o.err != nil || o.done.GetSeq() != 9 {
		t.Errorf("ended with %v, %v", o.done, o.err)
	}
}

// onceDoor lets in once.
type onceDoor struct {
	cutDoor
	in *atomic.Bool
}

func (d onceDoor) Endpoint(ctx context.Context) (net.Conn, error) {
	if d.in.Swap(true) {
		return nil, client.ErrShut
	}
	return d.cutDoor.Endpoint(ctx)
}

// TestShutOut: who was let in and is no more is told so, and does not knock for ever.
func TestShutOut(t *testing.T) {
	d := onceDoor{cutDoor{client.Socket(socketOf(t)), make(chan net.Conn, 1)}, new(atomic.Bool)}
	startEngine(t, string(d.Socket), newHistory(3), func(ctx actor.Context) {
		if _, ok := ctx.Message().(*wire.StartMachine); ok {
			_ = (<-d.last).Close()
		}
	})
	if _, err := client.Command(t.Context(), d, &wire.StartMachine{Name: "web"}); !errors.Is(err, client.ErrShut) {
		t.Errorf("a command ended with %v", err)
	}
	d.in.Store(false)
	c, err := client.Dial(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	cut := sync.OnceValue(func() error { return (<-d.last).Close() })
	err = c.Follow(t.Context(), &wire.QueryJournal{}, func([]*wire.Record) error { return cut() })
	if !errors.Is(err, client.ErrShut) {
		t.Errorf("what followed ended with %v", err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func TestCommandGivesUp(t *testing.T) {
	socket := socketOf(t)
	asked := make(chan struct{}, 16)
	e := startEngine(t, socket, newHistory(0), func(ctx actor.Context) {
		switch ctx.Message().(type) {
		case *wire.StartMachine, *wire.StopEngine:
			asked <- struct{}{}
		}
	})
	ended := make(chan error, 2)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		_, err := client.Command(ctx, client.Socket(socket), &wire.StartMachine{Name: "web"})
		ended <- err
	}()
	<-asked
	go func() { _, err := client.Command(t.Context(), client.Socket(socket), &wire.StopEngine{}); ended <- err }()
	<-asked
	e.stop()
	if err := <-ended; !errors.Is(err, client.ErrDisconnected) { // StopEngine, which is not repeated
		t.Errorf("ended with %v", err)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
	if _, err := client.Command(t.Context(), client.Socket(socket), &wire.ListMachines{}); err == nil || !strings.Contains(err.Error(), "no command") {
		t.Errorf("a question as a command: %v", err)
	}
}

func TestDialRefusesOtherErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Dial(t.Context(), client.Socket(filepath.Join(file, "x.sock"))); err == nil || errors.Is(err, client.ErrNoEngine) {
		t.Errorf("got %v", err)
	}
}
