package main

import (
	"context"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	guestwire "github.com/arcboxlabs/arcbox-engine/guest/wire"
)

func TestShellArguments(t *testing.T) {
	for args, want := range map[string]struct {
		name  string
		start *guestwire.ExecStart
	}{
		"shell":                           {defaultName, &guestwire.ExecStart{Login: true}},
		"shell web":                       {"web", &guestwire.ExecStart{Login: true}},
		"shell -- ls -l":                  {defaultName, &guestwire.ExecStart{Login: true, Argv: []string{"ls", "-l"}}},
		"shell web ls":                    {"web", &guestwire.ExecStart{Login: true, Argv: []string{"ls"}}},
		"shell web -u ann -w /s -- ls --": {"web", &guestwire.ExecStart{Login: true, Argv: []string{"ls", "--"}, User: "ann", Dir: "/s"}},
		"shell -e A=1 web -- env":         {"web", &guestwire.ExecStart{Login: true, Argv: []string{"env"}, Env: map[string]string{"A": "1"}}},
	} {
		var got *guestwire.ExecStart
		e := withAgent(t, collect(&got))
		b := newBench(t, e)
		b.stdin = strings.NewReader("exit\n")
		if code := b.run(t, strings.Fields(args)...); code != 0 || b.out.String() != "exit\n" {
			t.Errorf("%s: exit %d, %q, %q", args, code, b.out.String(), b.err.String())
		}
		if !proto.Equal(got, want.start) {
			t.Errorf("%s: %v, want %v", args, got, want.start)
		}
		if open, ok := e.got[0].(*wire.OpenGuest); !ok || open.GetName() != want.name || len(e.got) != 1 {
			t.Errorf("%s: the engine was asked %v", args, e.got)
		}
	}
	for _, args := range []string{"shell a/b", "shell web --bogus", "shell --timeout 1s web"} {
		b := newBench(t, answers(nil, refusal(wire.Code_CODE_CONFLICT)))
		if code := b.run(t, strings.Fields(args)...); code != exitExecFault || b.err.Len() == 0 {
			t.Errorf("%s: exit %d, %q", args, code, b.err.String())
		}
	}
}

// stopped is an engine with a machine that does not run until it is started.
func stopped(t *testing.T, state string, startFails error) *fakeEngine {
	t.Helper()
	e := withAgent(t, ends(&guestwire.ExecDone{}))
	running := state == "Running"
	e.answer = func(_ context.Context, msg proto.Message) (proto.Message, error) {
		switch msg.(type) {
		case *wire.InspectMachine:
			return &wire.Machine{Name: "web", State: state}, nil
		case *wire.StartMachine:
			running = startFails == nil
			return &wire.Done{}, startFails
		}
		if !running {
			return nil, refusal(wire.Code_CODE_CONFLICT)
		}
		return &wire.Ticket{}, nil
	}
	return e
}

func TestShellStartsForPeople(t *testing.T) {
	for _, c := range []struct {
		args, state string
		atTerminal  bool
		starts      bool
		code        int
	}{
		{"shell web", "Stopped", true, true, 0},
		{"shell web", "Created", true, true, 0},
		{"shell web", "Starting", true, true, 0},
		{"shell web", "Running", true, false, 0},
		{"shell web", "Stopping", true, false, exitExecFault},
		{"shell web --start=false", "Stopped", true, false, exitExecFault},
		{"shell web", "Stopped", false, false, exitExecFault},
		{"shell web --start", "Stopped", false, true, 0},
	} {
		e := stopped(t, c.state, nil)
		d := newDesk(t, e)
		if !c.atTerminal {
			d.stdin, d.stdout = strings.NewReader(""), &d.out
		}
		code := d.run(t, strings.Fields(c.args)...)
		started := false
		for _, msg := range e.got {
			_, ok := msg.(*wire.StartMachine)
			started = started || ok
		}
		if code != c.code || started != c.starts {
			t.Errorf("%+v: exit %d, started %v: %s", c, code, started, d.err.String())
		}
		if c.starts != (d.err.String() == "web was "+c.state+": it is started\n") {
			t.Errorf("%+v: %q", c, d.err.String())
		}
		d.restored(t)
	}
}

func TestShellSaysWhyItDoesNotStart(t *testing.T) {
	d := newDesk(t, stopped(t, "Stopped", refusal(wire.Code_CODE_FAILED)))
	if code := d.run(t, "shell", "web"); code != exitExecFault || !strings.Contains(d.err.String(), "no: failed") {
		t.Errorf("exit %d, %q", code, d.err.String())
	}
}

func TestShellCompletesNames(t *testing.T) {
	b := newBench(t, &fakeEngine{answer: world})
	if code := b.run(t, "__complete", "shell", ""); code != 0 || !strings.Contains(b.out.String(), "web\tRunning\n") {
		t.Errorf("exit %d, %q", code, b.out.String())
	}
}
