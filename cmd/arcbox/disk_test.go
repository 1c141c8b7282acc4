package main

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/arcboxlabs/arcbox-engine/actors/client"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	guestwire "github.com/arcboxlabs/arcbox-engine/guest/wire"
)

func (a *fakeAgent) Trim(ctx context.Context, _ *guestwire.TrimRequest) (*guestwire.TrimReply, error) {
	if a.mute {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return &guestwire.TrimReply{Trimmed: 1 << 30}, a.trim()
}

// withDisk is an engine with a machine that has a disk of its own, a file that is
// all hole.
func withDisk(t *testing.T, state string, a *fakeAgent) (e *fakeEngine, file string) {
	t.Helper()
	m := &wire.Machine{Name: "web", Id: "01a2", State: state, Dir: t.TempDir(), Spec: &wire.Spec{Cpus: 1, Memory: 1 << 30, Disk: 10 << 30, Backend: "qemu"}}
	file = filepath.Join(m.Dir, "data.img")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, 10<<30); err != nil {
		t.Fatal(err)
	}
	e = withAgent(t, a)
	ticket := e.answer
	e.answer = func(ctx context.Context, msg proto.Message) (proto.Message, error) {
		if _, ok := msg.(*wire.InspectMachine); ok {
			return m, nil
		}
		return ticket(ctx, msg)
	}
	return e, file
}

// How full a disk is shows in inspect, and what can't be found out is said to be
// unknown.
func TestInspectDisk(t *testing.T) {
	used := &guestwire.DiskUse{Size: 10 << 30, Used: 3 << 29, Free: 8 << 30}
	for _, c := range []struct {
		name, state string
		agent       *fakeAgent
		gone        bool
	}{
		{"running", "Running", &fakeAgent{disk: used}, false},
		{"stopped", "Stopped", &fakeAgent{}, false},
		{"mute", "Running", &fakeAgent{mute: true}, false},
		{"older", "Running", &fakeAgent{}, false},
		{"liar", "Running", &fakeAgent{disk: &guestwire.DiskUse{Size: math.MaxUint64}}, false},
		{"gone", "Stopped", &fakeAgent{}, true},
	} {
		var all strings.Builder
		for _, format := range []string{"text", "json"} {
			e, file := withDisk(t, c.state, c.agent)
			if c.gone {
				if err := os.Remove(file); err != nil {
					t.Fatal(err)
				}
			}
			b := newBench(t, e)
			args := "inspect web --timeout 20ms --format " + format
			if !c.agent.mute {
				args = "inspect web --format " + format
			}
			if code := b.run(t, strings.Fields(args)...); code != 0 {
				t.Errorf("%s: exit %d, %s", c.name, code, b.err.String())
			}
			all.WriteString("$ arcbox " + args + "\n" + strings.ReplaceAll(b.out.String(), filepath.Dir(file), "/machine") + "--- stderr\n" + b.err.String())
		}
		golden(t, "disk-"+c.name+".txt", all.String())
	}
}

func TestCompact(t *testing.T) {
	a := &fakeAgent{}
	e, file := withDisk(t, "Running", a)
	a.trim = func() error { // all of it becomes a hole again
		if err := os.Truncate(file, 0); err != nil {
			return err
		}
		return os.Truncate(file, 10<<30)
	}
	for _, args := range []string{"disk compact web", "disk compact web --format json"} {
		f, err := os.OpenFile(file, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt(make([]byte, 1<<20), 1<<30); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		b := newBench(t, e)
		if code := b.run(t, strings.Fields(args)...); code != 0 {
			t.Errorf("%s: exit %d, %s", args, code, b.err.String())
		}
		var got compactJSON
		switch {
		case !strings.Contains(args, "json"):
			if !strings.HasPrefix(b.out.String(), "web: the disk takes 0 B of the host, and took 1.0 MiB before\n") {
				t.Errorf("%s: %q", args, b.out.String())
			}
		case json.Unmarshal(b.out.Bytes(), &got) != nil || got != compactJSON{"web", 1 << 20, 0, 1 << 30}:
			t.Errorf("%s: %q", args, b.out.String())
		}
	}
}

// TestDisksOfAnotherHost: a file here with the same name is not the machine's.
func TestDisksOfAnotherHost(t *testing.T) {
	dir := t.TempDir()
	b, _ := contextBench(t, dir, nil)
	if code := b.run(t, "context", "add", "lab", "ssh://lab", "--use"); code != 0 {
		t.Fatal(code)
	}
	e, _ := withDisk(t, "Running", &fakeAgent{trim: func() error { return nil }})
	for args, want := range map[string]string{
		"disk compact web":               "web: the guest says that 1.0 GiB of its disk hold nothing",
		"disk compact web --format json": "{\n  \"name\": \"web\",\n  \"trimmed\": 1073741824\n}\n",
		"inspect web":                    "it is a file of the engine's host",
		"inspect web --format json":      "\"host_unknown\": \"it is a file of the engine's host\"",
	} {
		b, _ := contextBench(t, dir, nil)
		b.connect = func(context.Context, client.Door) (engine, error) { return e, nil }
		if code := b.run(t, strings.Fields(args)...); code != 0 || !strings.Contains(b.out.String(), want) {
			t.Errorf("%s: exit %d, %q, %s", args, code, b.out.String(), b.err.String())
		}
	}
}

func TestCompactRefusals(t *testing.T) {
	stopped, _ := withDisk(t, "Stopped", &fakeAgent{})
	mute, _ := withDisk(t, "Running", &fakeAgent{mute: true})
	gone, file := withDisk(t, "Running", &fakeAgent{})
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		e    *fakeEngine
		code int
		says string
	}{
		{"stopped", stopped, 4, "hint: arcbox start web"},
		{"without a disk", &fakeEngine{answer: world}, 4, "has no disk of its own"},
		{"unknown", answers(nil, refusal(wire.Code_CODE_NOT_FOUND)), 3, ""},
		{"mute", mute, 5, "did not answer in 20ms"},
		{"gone", gone, 1, file},
	} {
		b := newBench(t, c.e)
		if code := b.run(t, "disk", "compact", "web", "--timeout", "20ms"); code != c.code || !strings.Contains(b.err.String(), c.says) || b.out.Len() > 0 {
			t.Errorf("%s: exit %d, %q, %q", c.name, code, b.out.String(), b.err.String())
		}
	}
}

// Ctrl-C ends the wait, not what the guest does.
func TestCompactInterrupted(t *testing.T) {
	e, _ := withDisk(t, "Running", &fakeAgent{mute: true})
	b := newBench(t, e)
	ticket := e.answer
	e.answer = func(ctx context.Context, msg proto.Message) (proto.Message, error) {
		if _, ok := msg.(*wire.OpenGuest); ok {
			b.sent <- os.Interrupt
		}
		return ticket(ctx, msg)
	}
	if code := b.run(t, "disk", "compact", "web"); code != exitInterrupted {
		t.Errorf("exit %d: %s", code, b.err.String())
	}
}
