package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/cmd/internal/home"
	"github.com/arcboxlabs/arcbox-engine/fsm"
)

// TestAllMachines: --all is every machine that there is, each result is said on its
// own, and the exit code is the highest.
func TestAllMachines(t *testing.T) {
	e := &fakeEngine{answer: func(ctx context.Context, msg proto.Message) (proto.Message, error) {
		stop, ok := msg.(*wire.StopMachine)
		switch {
		case !ok:
			return world(ctx, msg)
		case stop.GetName() == "tired":
			return nil, refusal(wire.Code_CODE_UNSAFE)
		case stop.GetName() == "fake":
			return nil, refusal(wire.Code_CODE_NOT_FOUND)
		}
		return &wire.Done{Machine: &wire.Machine{Name: stop.GetName(), State: "Stopped"}}, nil
	}}
	b := newBench(t, e)
	code := b.run(t, "stop", "--all")
	if want := "DB: Stopped\nevil\uFFFD[2J: Stopped\nweb: Stopped\n"; code != exitUnsafe || b.out.String() != want {
		t.Errorf("exit %d, out %q", code, b.out.String())
	}
	if n := strings.Count(b.err.String(), "arcbox: "); n != 2 {
		t.Errorf("%d errors: %s", n, b.err.String())
	}
	b = newBench(t, e)
	if code := b.run(t, "stop", "--all", "web"); code != exitUsage || !strings.Contains(b.err.String(), "--all and web") {
		t.Errorf("exit %d, %s", code, b.err.String())
	}
	b = newBench(t, answers(&wire.Machines{}, nil))
	if code := b.run(t, "rm", "--all"); code != 0 || !strings.Contains(b.err.String(), "no machines") {
		t.Errorf("exit %d, %s", code, b.err.String())
	}
}

func TestInspectMany(t *testing.T) {
	for args, want := range map[string]string{
		"inspect web db nobody --format {{.name}}": "3 web DB",
		"inspect web nobody --format json":         "3 [",
		"inspect --all --format {{.id}}":           "0 01a1 01a2",
		"inspect db --format {{.id}}":              "0 01a1",
		"inspect nobody --format json":             "3",
	} {
		e := &fakeEngine{answer: func(ctx context.Context, msg proto.Message) (proto.Message, error) {
			if _, ok := msg.(*wire.ListMachines); ok {
				return &wire.Machines{Machines: machines()[:2]}, nil
			}
			return world(ctx, msg)
		}}
		b := newBench(t, e)
		code := b.run(t, strings.Fields(args)...)
		got := append([]string{count(code)}, strings.Fields(b.out.String())...)
		words := strings.Fields(want)
		if len(got) < len(words) || !slices.Equal(got[:len(words)], words) || (code != 0) != (b.err.Len() > 0) {
			t.Errorf("%s: %q, want %q; %s", args, got, want, b.err.String())
		}
	}
}

// TestDefaultMachine: who names no machine means the chosen one.
func TestDefaultMachine(t *testing.T) {
	dir := t.TempDir()
	run := func(args ...string) (int, string, *fakeEngine) {
		e := &fakeEngine{answer: world}
		b := newBench(t, e)
		b.env = func(name string) string { return map[string]string{home.Var: dir}[name] }
		code := b.run(t, args...)
		return code, b.out.String() + b.err.String(), e
	}
	file := filepath.Join(dir, "config", "default-machine")
	for _, c := range []struct {
		args, want string
		code       int
	}{
		{"default", "default\n", 0},
		{"default nobody", "not-found", exitNotFound},
		{"default WEB", "web is the default machine", 0},
		{"default", "web\n", 0},
		{"default --format json", `"chosen": true`, 0},
		{"inspect --format {{.name}}", "web\n", 0},
		{"default --unset web", "one of them at a time", exitUsage},
		{"default --unset", "default is the default machine", 0},
		{"default --unset", "default is the default machine", 0},
		{"default --format json", `"chosen": false`, 0},
		{"rm", "the name of a machine is missing", exitUsage},
	} {
		code, out, _ := run(strings.Fields(c.args)...)
		if code != c.code || !strings.Contains(out, c.want) {
			t.Errorf("%s: exit %d, %q", c.args, code, out)
		}
	}
	if err := os.WriteFile(file, []byte("../x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range []string{"stop", "inspect", "logs", "ping", "info", "shell", "ssh", "provision", "disk compact", "set --cpus 1", "default"} {
		code, out, e := run(strings.Fields(args)...)
		if code == 0 || !strings.Contains(out, "arcbox default --unset") || len(e.got) > 0 {
			t.Errorf("%s, with a choice that can't be read: exit %d, %q, asked %v", args, code, out, e.got)
		}
	}
}

// TestRenamedDefault: the default machine is the same one behind its rename.
func TestRenamedDefault(t *testing.T) {
	dir := t.TempDir()
	run := func(args string) (int, string) {
		b := newBench(t, &fakeEngine{answer: func(ctx context.Context, msg proto.Message) (proto.Message, error) {
			if r, ok := msg.(*wire.RenameMachine); ok {
				return &wire.Done{Machine: &wire.Machine{Name: r.GetNewName(), State: "Stopped"}}, nil
			}
			return world(ctx, msg)
		}})
		b.env = func(name string) string { return map[string]string{home.Var: dir}[name] }
		return b.run(t, strings.Fields(args)...), b.out.String() + b.err.String()
	}
	for _, c := range []struct{ args, want string }{
		{"rename default web", "web: Stopped\nno machine is called default any more: arcbox default web"},
		{"default web", "web is the default machine"},
		{"rename other more", "more: Stopped\n"},
		{"default", "web\n"},
		{"rename Web shop", "shop: Stopped\nshop is the default machine\n"},
		{"default", "shop\n"},
	} {
		if code, out := run(c.args); code != 0 || !strings.HasPrefix(out, c.want) {
			t.Errorf("%s: exit %d, %q", c.args, code, out)
		}
	}
}

// TestWaitForRecord: behind what there is now, of this machine alone, and its removal
// ends the wait.
func TestWaitForRecord(t *testing.T) {
	for _, c := range []struct {
		args, want string
		after      uint64
		comes      string
		code       int
	}{
		{"wait web record=exited", "exited", 12, "exited", 0},
		{"wait web record=exited --since 3 --format json", `"kind": "exited"`, 3, "exited", 0},
		{"wait web record=removed", "removed", 12, "removed", 0},
		{"wait web record=exited", "was removed before", 12, "removed", exitConflict},
		{"wait web record=exited --timeout 1ms", "came within 1ms", 12, "", exitTimeout},
	} {
		e := &fakeEngine{answer: world, follow: func(ctx context.Context, q *wire.QueryJournal, each func([]*wire.Record) error) error {
			if q.GetMachine() != "01a2" || q.GetAfter() != c.after {
				t.Errorf("%s: follows %v", c.args, q)
			}
			if c.comes == "" {
				<-ctx.Done()
				return ctx.Err()
			}
			return each([]*wire.Record{{Seq: 20, Name: "web", Kind: c.comes}})
		}}
		b := newBench(t, e)
		if code := b.run(t, strings.Fields(c.args)...); code != c.code || !strings.Contains(b.out.String()+b.err.String(), c.want) {
			t.Errorf("%s: exit %d, %q, %q", c.args, code, b.out.String(), b.err.String())
		}
	}
	for args, want := range map[string]string{
		"wait web record=exitd":      "did you mean record=exited",
		"wait web running --since 3": "only with record=KIND",
	} {
		b := newBench(t, answers(nil, nil))
		if code := b.run(t, strings.Fields(args)...); code != exitUsage || !strings.Contains(b.err.String(), want) {
			t.Errorf("%s: exit %d, %q", args, code, b.err.String())
		}
	}
}

// TestKinds: what can be waited for and asked for are the kinds that the engine
// writes, all of which docs/journal.md lists.
func TestKinds(t *testing.T) {
	kinds := slices.Sorted(slices.Values(slices.Concat(kindsOfMachines, kindsOfEngine)))
	for _, kind := range kinds {
		if fsm.NewFact(fsm.Kind(kind)) == nil {
			t.Errorf("there is no kind %s", kind)
		}
	}
	for kind := range told {
		if !slices.Contains(kinds, kind) {
			t.Errorf("%s is not offered", kind)
		}
	}
	doc, err := os.ReadFile("../../docs/journal.md")
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(doc), "Kinds that move a state: ")
	list, _, _ = strings.Cut(list, "\n")
	var listed []string
	for i, word := range strings.Split(list, "`") {
		if i%2 == 1 {
			listed = append(listed, word)
		}
	}
	if d := cmp.Diff(slices.Sorted(slices.Values(listed)), kinds); d != "" {
		t.Error(d)
	}
}

// TestLabelsAndProtection: what is asked of the engine, and how it is shown.
func TestLabelsAndProtection(t *testing.T) {
	yes, no := true, false
	for args, want := range map[string]proto.Message{
		"set a --label tier=front --label x --unlabel old": &wire.SetMachine{Name: "a", Labels: map[string]string{"tier": "front", "x": ""}, RemoveLabels: []string{"old"}},
		"protect a":   &wire.SetMachine{Name: "a", Protect: &yes},
		"unprotect a": &wire.SetMachine{Name: "a", Protect: &no},
	} {
		e := answers(&wire.Done{Machine: &wire.Machine{Name: "a", State: "Created"}}, nil)
		b := newBench(t, e)
		if code := b.run(t, strings.Fields(args)...); code != 0 {
			t.Errorf("%s: exit %d, %s", args, code, b.err.String())
		} else if d := cmp.Diff(want, e.got[0], protocmp.Transform(), protocmp.IgnoreMessages(&wire.Request{})); d != "" {
			t.Errorf("%s (-want +got):\n%s", args, d)
		}
	}
	ms := []*wire.Machine{
		{Name: "a", Spec: &wire.Spec{Labels: map[string]string{"tier": "front", "x": ""}, Protected: true}}, {Name: "b", Spec: &wire.Spec{Labels: map[string]string{"tier": "back"}}}, {Name: "c"},
	}
	for args, want := range map[string]string{
		"-q --filter label=tier":                     "a b",
		"-q --filter label=tier=front":               "a",
		"-q --filter label=tier=*":                   "a b",
		"-q --filter label=x --filter label=y":       "",
		"-q --filter label=x --filter label=tier=f*": "a",
		"-q --filter protected=no":                   "b c",
		"--columns name,label,protected":             "NAME LABEL PROTECTED a tier=front, x yes b tier=back no c - no",
		"--format {{.labels.tier}} --filter name=a":  "front",
	} {
		b := newBench(t, answers(&wire.Machines{Machines: ms}, nil))
		code := b.run(t, append([]string{"list"}, strings.Fields(args)...)...)
		if d := cmp.Diff(strings.Fields(want), strings.Fields(b.out.String())); code != 0 || d != "" {
			t.Errorf("%s: exit %d, %s%s", args, code, d, b.err.String())
		}
	}
	for args, want := range map[string]string{
		"create a --label =x":                         "KEY or KEY=VALUE",
		"create a --label a --label a=b":              "a is there twice",
		"set a --label a=" + strings.Repeat("x", 129): "at most 128 bytes",
		"protect": "the name of a machine is missing",
	} {
		b := newBench(t, answers(nil, nil))
		if code := b.run(t, strings.Fields(args)...); code != exitUsage || !strings.Contains(b.err.String(), want) {
			t.Errorf("%s: exit %d, %q", args, code, b.err.String())
		}
	}
}
