package main

import (
	"context"
	"encoding/json"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

func TestCommandsOnTheWire(t *testing.T) {
	host := &wire.Spec{Cpus: uint32(runtime.NumCPU()), Memory: 4 << 30, Restart: "no", Accel: "auto", Network: "nat"} //nolint:gosec // small
	for args, want := range map[string]proto.Message{
		"create": &wire.CreateMachine{Name: "default", Spec: host},
		"create a --cpus 3 --memory 1.5G --backend sim --script x --restart always --accel tcg --cmdline quiet": &wire.CreateMachine{
			Name: "a", Spec: &wire.Spec{Cpus: 3, Memory: 1536 << 20, Backend: "sim", Script: "x", Restart: "always", Accel: "tcg", Cmdline: "quiet"}},
		"create a --memory 512":   &wire.CreateMachine{Name: "a", Spec: &wire.Spec{Cpus: host.Cpus, Memory: 512 << 20, Restart: "no", Accel: "auto", Network: "nat"}},
		"create a --network none": &wire.CreateMachine{Name: "a", Spec: &wire.Spec{Cpus: host.Cpus, Memory: host.Memory, Restart: "no", Accel: "auto", Network: "none"}},
		"create a --egress deny -p 8080:80 -p [::1]:53:53/udp --socket /tmp/d.sock:/run/docker.sock": &wire.CreateMachine{Name: "a", Spec: &wire.Spec{
			Cpus: host.Cpus, Memory: host.Memory, Restart: "no", Accel: "auto", Network: "nat", Egress: "deny", Ports: []*wire.Port{
				{Protocol: "tcp", Listen: "127.0.0.1:8080", To: "80"}, {Protocol: "udp", Listen: "[::1]:53", To: "53"},
				{Protocol: "unix", Listen: "/tmp/d.sock", To: "/run/docker.sock"},
			}}},
		"start":                                  &wire.StartMachine{Name: "default", TimeoutNanos: 60e9},
		"start a --timeout 2m":                   &wire.StartMachine{Name: "a", TimeoutNanos: 120e9},
		"stop":                                   &wire.StopMachine{Name: "default", TimeoutNanos: 30e9},
		"stop a --timeout 5":                     &wire.StopMachine{Name: "a", TimeoutNanos: 5e9},
		"stop a --kill":                          &wire.StopMachine{Name: "a", TimeoutNanos: 30e9, Kill: true},
		"stop a --no-kill":                       &wire.StopMachine{Name: "a", TimeoutNanos: 30e9, NoKill: true},
		"restart a --kill":                       &wire.RestartMachine{Name: "a", TimeoutNanos: 30e9, Kill: true, StartTimeoutNanos: 60e9},
		"restart --timeout 1s --start-timeout 9": &wire.RestartMachine{Name: "default", TimeoutNanos: 1e9, StartTimeoutNanos: 9e9},
		"pause":                                  &wire.PauseMachine{Name: "default"},
		"resume a":                               &wire.ResumeMachine{Name: "a"},
		"suspend a --timeout 20":                 &wire.SuspendMachine{Name: "a", TimeoutNanos: 20e9},
		"start a --fresh":                        &wire.StartMachine{Name: "a", TimeoutNanos: 60e9, Fresh: true},
		"rm a":                                   &wire.RemoveMachine{Name: "a"},
		"delete -f a":                            &wire.RemoveMachine{Name: "a", Force: true},
		"set --cpus 3":                           &wire.SetMachine{Name: "default", Cpus: 3},
		"set a --disk 60G":                       &wire.SetMachine{Name: "a", Disk: 60 << 30},
		"set a --egress 10.0.0.0/8:443,dns":      &wire.SetMachine{Name: "a", Egress: "10.0.0.0/8:443,dns"},
		"set a --egress allow --cpus 2":          &wire.SetMachine{Name: "a", Egress: "allow", Cpus: 2},
		"set a --memory 1.5G":                    &wire.SetMachine{Name: "a", Memory: 1536 << 20},
		"clone a b":                              &wire.CloneMachine{Name: "a", NewName: "b"},
		"rename a b":                             &wire.RenameMachine{Name: "a", NewName: "b"},
		"wait a agent --timeout 7s":              &wire.AwaitMachine{Name: "a", Until: "agent", TimeoutNanos: 7e9},
	} {
		e := answers(&wire.Done{Machine: &wire.Machine{Name: "a", State: "Created"}}, nil)
		b := newBench(t, e)
		if code := b.run(t, strings.Fields(args)...); code != 0 {
			t.Errorf("%s: exit %d, %s", args, code, b.err.String())
			continue
		}
		if r, ok := e.got[0].(interface{ GetRequest() *wire.Request }); ok && len(r.GetRequest().GetId()) != 36 {
			t.Errorf("%s: request %v", args, r.GetRequest())
		}
		if d := cmp.Diff(want, e.got[0], protocmp.Transform(), protocmp.IgnoreMessages(&wire.Request{})); d != "" {
			t.Errorf("%s (-want +got):\n%s", args, d)
		}
		if e.shut == 0 {
			t.Errorf("%s: the connection was left open", args)
		}
	}
}

// taken is a machine that runs, but one of whose ports somebody else has.
func taken() *wire.Machine {
	m := machines()[0]
	m.Network = &wire.Network{Ports: []*wire.PortState{
		{Port: &wire.Port{Protocol: "tcp", Listen: "127.0.0.1:80", To: "80"}, Error: "address already in use"},
		{Port: &wire.Port{Protocol: "tcp", Listen: "127.0.0.1:81", To: "81"}},
	}}
	return m
}

func TestOutcomes(t *testing.T) {
	for _, c := range []struct {
		args     string
		done     *wire.Done
		out, err string
	}{
		{"start web", &wire.Done{Machine: machines()[0]}, "web: Running (10.0.0.2)\n", ""},
		{"start web -q", &wire.Done{Machine: machines()[0], Note: "n"}, "", ""},
		{
			"start web", &wire.Done{Machine: taken()}, "web: Running (10.0.0.2)\n",
			"web: port 127.0.0.1:80 → 80: address already in use; it listens as soon as it can; see arcbox port ls web\n",
		},
		{"start fake", &wire.Done{Machine: machines()[3]}, "fake: Starting (sim: nothing really runs)\n", ""},
		{"stop db", &wire.Done{Machine: machines()[1], Killed: true}, "DB: Stopped\n", "DB: it had to be killed\n"},
		{"stop db", &wire.Done{Machine: machines()[1], Note: "it was stopped already"}, "DB: Stopped\n", "DB: it was stopped already\n"},
		{"rm db", &wire.Done{}, "db: Removed\n", ""},
	} {
		b := newBench(t, answers(c.done, nil))
		if code := b.run(t, strings.Fields(c.args)...); code != 0 || b.out.String() != c.out || b.err.String() != c.err {
			t.Errorf("%s: exit %d, %q, %q", c.args, code, b.out.String(), b.err.String())
		}
	}
	b := newBench(t, answers(&wire.Done{Machine: machines()[1], Killed: true, Note: "n", Seq: 5}, nil))
	var got doneJSON
	if b.run(t, "stop", "db", "--format", "json"); json.Unmarshal(b.out.Bytes(), &got) != nil || !got.Killed || got.Note != "n" || got.Machine.Memory != 1536<<20 {
		t.Errorf("%s", b.out.String())
	}
}

func TestManyNames(t *testing.T) {
	b := newBench(t, &fakeEngine{answer: func(_ context.Context, msg proto.Message) (proto.Message, error) {
		start, ok := msg.(*wire.StartMachine)
		if !ok {
			return &wire.Machines{}, nil // which it may have meant
		}
		name := start.GetName()
		if name == "bad" {
			return nil, refusal(wire.Code_CODE_NOT_FOUND)
		}
		return &wire.Done{Machine: &wire.Machine{Name: name, State: "Running"}}, nil
	}})
	if code := b.run(t, "start", "c", "bad", "a", "C"); code != 3 {
		t.Errorf("exit %d", code)
	}
	if got := b.out.String(); got != "c: Running\na: Running\n" {
		t.Errorf("out %q", got)
	}
	if got := b.err.String(); got != "arcbox: no: not-found\nhint: arcbox list\n" {
		t.Errorf("err %q", got)
	}
}

func TestUp(t *testing.T) {
	for _, c := range []struct {
		name   string
		there  bool
		create error
		want   string
		exit   int
	}{
		{"it is missing", false, nil, "InspectMachine CreateMachine StartMachine", 0},
		{"it is there", true, nil, "InspectMachine StartMachine", 0},
		{"somebody else creates it", false, refusal(wire.Code_CODE_CONFLICT), "InspectMachine CreateMachine StartMachine", 0},
		{"it can't be created", false, refusal(wire.Code_CODE_BAD_INPUT), "InspectMachine CreateMachine", 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := &fakeEngine{answer: func(_ context.Context, msg proto.Message) (proto.Message, error) {
				switch msg.(type) {
				case *wire.InspectMachine:
					if !c.there {
						return nil, refusal(wire.Code_CODE_NOT_FOUND)
					}
					return machines()[0], nil
				case *wire.CreateMachine:
					return &wire.Done{}, c.create
				}
				return &wire.Done{Machine: machines()[0]}, nil
			}}
			b := newBench(t, e)
			if code := b.run(t, "up", "web", "--cpus", "1"); code != c.exit {
				t.Errorf("exit %d: %s", code, b.err.String())
			}
			var got []string
			for _, m := range e.got {
				got = append(got, string(m.ProtoReflect().Descriptor().Name()))
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("%v, want %s", got, c.want)
			}
			if there := c.there || refusedAs(c.create, wire.Code_CODE_CONFLICT); there != strings.Contains(b.err.String(), "--cpus had no effect") {
				t.Errorf("err %q", b.err.String())
			}
		})
	}
}

func TestCompletion(t *testing.T) {
	for args, want := range map[string]string{
		"start |":             "DB web", // and the others
		"start web |":         "DB",
		"inspect web |":       "",
		"wait web |":          "running stopped agent",
		"list --format |":     "table json",
		"create --backend s|": "sim",
		"jour|":               "journal",
		"engine |":            "start status stop",
		"completion |":        "bash zsh fish powershell",
	} {
		b := newBench(t, &fakeEngine{answer: world})
		words, last, _ := strings.Cut(args, "|")
		fields := strings.Fields(words)
		if last == "" && !strings.HasSuffix(words, " ") {
			last, fields = fields[len(fields)-1], fields[:len(fields)-1]
		}
		b.run(t, append(append([]string{"__complete"}, fields...), last)...)
		for _, w := range strings.Fields(want) {
			if !strings.Contains("\n"+b.out.String(), "\n"+w) {
				t.Errorf("%s: %q does not offer %s", args, b.out.String(), w)
			}
		}
		if strings.Contains(args, "web |") && strings.Contains(b.out.String(), "web\t") {
			t.Errorf("%s: offers web again: %q", args, b.out.String())
		}
	}
	b := newBench(t, nil) // no engine: nothing is offered, and nothing started
	if b.run(t, "__complete", "start", ""); !strings.HasPrefix(b.out.String(), ":4") {
		t.Errorf("%q", b.out.String())
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		b := newBench(t, nil)
		if code := b.run(t, "completion", shell); code != 0 || b.out.Len() < 1000 {
			t.Errorf("%s: exit %d, %d bytes", shell, code, b.out.Len())
		}
	}
}
