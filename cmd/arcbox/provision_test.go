package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/arcboxlabs/arcbox-engine/actors/client"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

func TestProvisionFlags(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, text []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good, empty, large := file("good", []byte("echo hi\n")), file("empty", []byte(" \n")), file("large", make([]byte, maxProvision+1))
	for args, want := range map[string]string{
		"--provision " + good + " --user-data " + good:   "one of them",
		"--user-data " + good:                            "only with --image",
		"--provision-timeout 5m":                         "only with --provision",
		"--provision " + empty:                           "it is empty",
		"--provision " + large:                           "it is larger",
		"--provision " + dir:                             "not a file",
		"--provision " + dir + "/none":                   "no such file",
		"--provision " + good + " --provision-timeout x": "duration",
	} {
		b := newBench(t, answers(&wire.Done{}, nil))
		if code := b.run(t, append([]string{"create", "web"}, strings.Fields(args)...)...); code != 2 || !strings.Contains(b.err.String(), want) {
			t.Errorf("%s: exit %d, %s", args, code, b.err.String())
		}
	}
	e := answers(&wire.Done{}, nil)
	b := newBench(t, e)
	if code := b.run(t, "create", "web", "--provision", good, "--provision-timeout", "5m"); code != 0 {
		t.Fatalf("exit %d, %s", code, b.err.String())
	}
	p := e.got[0].(*wire.CreateMachine).GetSpec().GetProvision()
	if p.GetKind() != "script" || string(p.GetText()) != "echo hi\n" || p.GetTimeoutNanos() != 300e9 {
		t.Errorf("%v", p)
	}
}

// TestUpSetsUp: up waits for the set-up, and fails with it.
func TestUpSetsUp(t *testing.T) {
	spec := &wire.Spec{Provision: &wire.Provision{Kind: "script", TimeoutNanos: 60e9}}
	for failed, want := range map[bool]int{false: 0, true: 1} {
		e := &fakeEngine{answer: func(_ context.Context, msg proto.Message) (proto.Message, error) {
			if await, ok := msg.(*wire.AwaitMachine); ok {
				if await.GetUntil() != untilProvisioned || await.GetTimeoutNanos() != 120e9 {
					t.Errorf("%v", await)
				}
				if failed {
					return nil, &client.RefusedError{Code: wire.Code_CODE_FAILED, Message: "its set-up failed\nThe output's last lines:\nboom", Hint: "arcbox provision web --again"}
				}
			}
			m := &wire.Machine{Name: "web", State: "Running", Spec: spec}
			if _, ok := msg.(*wire.InspectMachine); ok {
				return m, nil
			}
			return &wire.Done{Machine: m}, nil
		}}
		for _, args := range []string{"up web", "start web --wait provisioned", "provision web", "provision web --again"} {
			b := newBench(t, e)
			if code := b.run(t, strings.Fields(args)...); code != want || failed != strings.Contains(b.err.String(), "boom") {
				t.Errorf("%s: exit %d, %s%s", args, code, b.out.String(), b.err.String())
			}
		}
	}
	e := answers(&wire.Done{Machine: &wire.Machine{Name: "web", State: "Stopped", Spec: spec}}, nil)
	b := newBench(t, e)
	if code := b.run(t, "provision", "web", "--again"); code != 0 || !strings.Contains(b.err.String(), "next start") || len(e.got) != 1 {
		t.Errorf("of a machine that does not run: exit %d, %s", code, b.err.String())
	}
}
