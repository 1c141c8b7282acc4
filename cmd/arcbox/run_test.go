package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/cmd/internal/home"
	"github.com/arcboxlabs/arcbox-engine/guest/image"
	"github.com/arcboxlabs/arcbox-engine/guest/image/pull"
	guestwire "github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// runBench has a home with the image "base", and an engine with an agent, of
// which answer may change what it says.
func runBench(t *testing.T, a *fakeAgent, answer func(proto.Message) (proto.Message, error)) (*bench, *fakeEngine) {
	t.Helper()
	e := withAgent(t, a)
	ticket := e.answer
	e.answer = func(ctx context.Context, msg proto.Message) (proto.Message, error) {
		if answer != nil {
			if out, err := answer(msg); out != nil || err != nil {
				return out, err
			}
		}
		if _, ok := msg.(*wire.OpenGuest); ok {
			return ticket(ctx, msg)
		}
		return &wire.Done{Machine: &wire.Machine{Id: "the-id", State: "Running"}}, nil
	}
	b := newBench(t, e)
	dir, err := os.MkdirTemp("", "arcbox") // sockets are limited in length
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	b.env = func(name string) string { return map[string]string{home.Var: dir}[name] }
	s, err := b.images()
	if err != nil {
		t.Fatal(err)
	}
	ref, err := image.FromStream("base")
	if err != nil {
		t.Fatal(err)
	}
	from := pull.Into(s, pull.Options{Stream: bytes.NewReader(rootTar(t, "run"))})
	defer from.Close()
	if _, err := from.Pull(t.Context(), ref, nil); err != nil {
		t.Fatal(err)
	}
	return b, e
}

// of is the requests of one type that an engine got.
func of[M proto.Message](e *fakeEngine) (out []M) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, msg := range e.got {
		if m, ok := msg.(M); ok {
			out = append(out, m)
		}
	}
	return out
}

// owners lists the files of commands that own machines.
func (b *bench) owners(t *testing.T) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(b.env(home.Var), "run", "owners", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestRun(t *testing.T) {
	var got *guestwire.ExecStart
	b, e := runBench(t, collect(&got), nil)
	b.stdin = strings.NewReader("in")
	if code := b.run(t, "run", "base", "--memory", "256", "-w", "/srv", "-e", "A=1", "--", "cat", "-u"); code != 0 || b.out.String() != "in" {
		t.Fatalf("exit %d, out %q, err %q", code, b.out.String(), b.err.String())
	}
	if !proto.Equal(got, &guestwire.ExecStart{Argv: []string{"cat", "-u"}, Dir: "/srv", Env: map[string]string{"A": "1"}}) {
		t.Errorf("it ran %v", got)
	}
	made := of[*wire.CreateMachine](e)[0]
	if s := made.GetSpec(); s.GetImageName() != "base" || s.GetMemory() != 256<<20 || len(s.GetOwner()) != 32 {
		t.Errorf("created was %v", made)
	}
	if !regexp.MustCompile(`^[a-z]+-[a-z]+-[0-9a-f]{4}$`).MatchString(made.GetName()) {
		t.Errorf("it is called %q", made.GetName())
	}
	if gone := of[*wire.RemoveMachine](e); len(gone) != 1 || gone[0].GetName() != "the-id" || !gone[0].GetForce() {
		t.Errorf("removed was %v", gone)
	}
	if left := b.owners(t); len(left) != 0 {
		t.Errorf("left are %v", left)
	}
}

func TestRunPassesTheStatusOn(t *testing.T) {
	for _, c := range []struct {
		done *guestwire.ExecDone
		want int
	}{{&guestwire.ExecDone{Status: 7}, 7}, {&guestwire.ExecDone{Signal: 9}, 137}, {&guestwire.ExecDone{Error: "not found", ErrorStatus: 127}, 127}} {
		b, e := runBench(t, ends(c.done), nil)
		if code := b.run(t, "run", "base", "--", "x"); code != c.want || len(of[*wire.RemoveMachine](e)) != 1 {
			t.Errorf("%v: exit %d, want %d; %q", c.done, code, c.want, b.err.String())
		}
	}
	// A removal that fails is told, and is the engine's from then on.
	b, _ := runBench(t, ends(&guestwire.ExecDone{Status: 3}), func(msg proto.Message) (proto.Message, error) {
		if _, ok := msg.(*wire.RemoveMachine); ok {
			return nil, refusal(wire.Code_CODE_TIMEOUT)
		}
		return nil, nil
	})
	if code := b.run(t, "run", "base", "--", "x"); code != 3 || !strings.Contains(b.err.String(), "the engine will do it") {
		t.Errorf("exit %d, %q", code, b.err.String())
	}
}

func TestRunKeep(t *testing.T) {
	b, e := runBench(t, ends(&guestwire.ExecDone{}), nil)
	if code := b.run(t, "run", "--keep", "--name", "web", "base", "--", "x"); code != 0 || !strings.Contains(b.err.String(), "web is kept") {
		t.Errorf("exit %d, %q", code, b.err.String())
	}
	if made := of[*wire.CreateMachine](e)[0]; made.GetSpec().GetOwner() != "" || made.GetName() != "web" || len(of[*wire.RemoveMachine](e)) != 0 {
		t.Errorf("%v, removed %v", made, of[*wire.RemoveMachine](e))
	}
}

// What the engine has not said to be ours is not removed.
func TestRunLeavesOthersAlone(t *testing.T) {
	taken := func(tries int) func(proto.Message) (proto.Message, error) {
		return func(msg proto.Message) (proto.Message, error) {
			if _, ok := msg.(*wire.CreateMachine); ok && tries > 0 {
				tries--
				return nil, refusal(wire.Code_CODE_CONFLICT)
			}
			return nil, nil
		}
	}
	for args, c := range map[string]struct{ tries, code, made, gone int }{
		"run base -- x":            {2, 0, 3, 1},
		"run --name web base -- x": {1, exitExecFault, 1, 0},
		"run base -- y":            {99, exitExecFault, nameTries, 0},
	} {
		b, e := runBench(t, ends(&guestwire.ExecDone{}), taken(c.tries))
		code := b.run(t, strings.Fields(args)...)
		if made, gone := len(of[*wire.CreateMachine](e)), len(of[*wire.RemoveMachine](e)); code != c.code || made != c.made || gone != c.gone {
			t.Errorf("%s: exit %d, %d created, %d removed; want %+v", args, code, made, gone, c)
		}
	}
}

// Ctrl-C before the program runs ends the start, and the machine goes.
func TestRunInterrupted(t *testing.T) {
	var b *bench
	b, e := runBench(t, ends(&guestwire.ExecDone{}), nil)
	inner := e.answer
	e.answer = func(ctx context.Context, msg proto.Message) (proto.Message, error) {
		if _, ok := msg.(*wire.StartMachine); ok {
			b.sent <- syscall.SIGINT
			<-ctx.Done()
			return nil, context.Cause(ctx)
		}
		return inner(ctx, msg)
	}
	if code := b.run(t, "run", "base", "--", "x"); code != exitInterrupted || len(of[*wire.RemoveMachine](e)) != 1 || len(of[*wire.OpenGuest](e)) != 0 {
		t.Errorf("exit %d, %q, removed %v", code, b.err.String(), of[*wire.RemoveMachine](e))
	}
	if left := b.owners(t); len(left) != 0 {
		t.Errorf("left are %v", left)
	}
}

func TestRunOwnFaults(t *testing.T) {
	for args, says := range map[string]string{
		"run": "reference of an image", "run -- ls": "reference of an image", "run base": "arcbox run base -- PROGRAM", "run base --": "arcbox run base -- PROGRAM",
		"run base --image x -- ls": "first argument", "run --name a/b base -- ls": "a/b", "run --memory 1 base -- ls": "64M",
		"run no-such:1 --server ftp://x -- ls": "ftp://x",
	} {
		b, e := runBench(t, ends(&guestwire.ExecDone{}), nil)
		if code := b.run(t, strings.Fields(args)...); code != exitExecFault || !strings.Contains(b.err.String(), says) || len(of[*wire.CreateMachine](e)) != 0 {
			t.Errorf("%s: exit %d, %q; want %s", args, code, b.err.String(), says)
		}
	}
}

// Files of commands that were killed are swept, those of others are not.
func TestOwnersAreSwept(t *testing.T) {
	b, _ := runBench(t, ends(&guestwire.ExecDone{}), nil)
	first, err := b.own(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer first.release()
	dir := filepath.Dir(first.file.Name())
	for _, name := range []string{"old", "young"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	old := noon.Add(-2 * ownerAge)
	for _, path := range []string{filepath.Join(dir, "old"), first.file.Name()} {
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	second, err := b.own(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if left := b.owners(t); len(left) != 3 || strings.Contains(strings.Join(left, " "), "old") {
		t.Errorf("left are %v", left)
	}
	second.release()
}
