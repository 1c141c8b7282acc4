package main

import (
	"context"
	"errors"
	"time"

	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"google.golang.org/protobuf/proto"

	"github.com/arcboxlabs/arcbox-engine/actors/client"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/guest/kernel"
)

// kernelTree is a directory that `kernel pack` takes.
func kernelTree(t *testing.T, release, image string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"boot/vmlinuz-" + release: image, "boot/config-" + release: "CONFIG_X=y\n",
		"lib/modules/" + release + "/modules.builtin": "kernel/x.ko\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestKernelLife(t *testing.T) {
	b := imageBench(t)
	dir := kernelTree(t, "6.1-test", "one")
	if code, _, err := b.again(t, "kernel", "import", dir); code != exitUsage || !strings.Contains(err, "manifest.json") {
		t.Errorf("import of what was not packed: exit %d, %q", code, err)
	}
	if code, out, err := b.again(t, "kernel", "pack", dir, "--source", "a test"); code != 0 || len(out) != 65 {
		t.Fatalf("exit %d, %q, %q", code, out, err)
	}
	if code, out, err := b.again(t, "kernel", "import", dir); code != 0 || out != "6.1-test\n" {
		t.Fatalf("exit %d, %q, %q", code, out, err)
	}
	if code, out, _ := b.again(t, "kernel", "import", dir, "--name", "ours", "--use", "-q"); code != 0 || out != "ours\n" {
		t.Errorf("exit %d, %q", code, out)
	}
	if code, out, _ := b.again(t, "kernel", "ls"); code != 0 || !strings.Contains(out, "*  ours") || !strings.Contains(out, "q35") {
		t.Errorf("exit %d, %q", code, out)
	}
	if code, out, _ := b.again(t, "kernel", "ls", "-q"); code != 0 || !strings.HasSuffix(out, "6.1-test\nours\n") {
		t.Errorf("exit %d, %q", code, out)
	}
	if code, _, err := b.again(t, "kernel", "rm", "ours"); code != exitConflict || !strings.Contains(err, "arcbox kernel use default") {
		t.Errorf("removing the one in use: exit %d, %q", code, err)
	}
	if code, _, err := b.again(t, "kernel", "use", "default"); code != 0 {
		t.Errorf("exit %d, %q", code, err)
	}
	if code, _, err := b.again(t, "kernel", "rm", "ours"); code != 0 {
		t.Errorf("exit %d, %q", code, err)
	}
	for _, verb := range []string{"use", "rm"} {
		if code, _, err := b.again(t, "kernel", verb, "ours"); code != exitNotFound || !strings.Contains(err, "arcbox kernel ls") {
			t.Errorf("%s: exit %d, %q", verb, code, err)
		}
		if code, _, _ := b.again(t, "kernel", verb, "No Name"); code != exitUsage {
			t.Errorf("%s of what is no name: exit %d", verb, code)
		}
		if code, _, _ := b.again(t, "kernel", verb); code != exitUsage {
			t.Errorf("%s of nothing: exit %d", verb, code)
		}
	}
}

func TestKernelImportRefuses(t *testing.T) {
	b := imageBench(t)
	dir, other := kernelTree(t, "6.1", "one"), kernelTree(t, "6.1", "two")
	for _, d := range []string{dir, other} {
		if code, _, err := b.again(t, "kernel", "pack", d); code != 0 {
			t.Fatalf("exit %d, %q", code, err)
		}
	}
	if code, _, _ := b.again(t, "kernel", "import", dir); code != 0 {
		t.Fatal("it was refused")
	}
	if code, _, err := b.again(t, "kernel", "import", other); code != exitConflict || !strings.Contains(err, "--name") {
		t.Errorf("another of that name: exit %d, %q", code, err)
	}
	if err := os.WriteFile(filepath.Join(other, "boot", "vmlinuz-6.1"), []byte("six"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, err := b.again(t, "kernel", "import", other, "--name", "other"); code != exitUnsafe || !strings.Contains(err, "boot/vmlinuz-6.1") {
		t.Errorf("a file that is another: exit %d, %q", code, err)
	}
	if code, _, _ := b.again(t, "kernel", "import", "/nobody"); code != exitNotFound {
		t.Errorf("a path that is not there: exit %d", code)
	}
}

// The keys of a kernel in JSON are only ever added to.
func TestKernelJSONKeys(t *testing.T) {
	b := imageBench(t)
	dir := kernelTree(t, "6.1", "one")
	if code, _, err := b.again(t, "kernel", "pack", dir, "--source", "a test"); code != 0 {
		t.Fatalf("exit %d, %q", code, err)
	}
	if code, _, err := b.again(t, "kernel", "import", dir, "--name", "ours"); code != 0 {
		t.Fatalf("exit %d, %q", code, err)
	}
	code, out, _ := b.again(t, "kernel", "ls", "--format", "json")
	var got []map[string]any
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != 0 || len(got) == 0 {
		t.Fatalf("exit %d, %v, %s", code, err, out)
	}
	last := got[len(got)-1]
	for _, key := range []string{"name", "used", "release", "arch", "source", "config", "digest", "modules", "size", "made", "board", "boots"} {
		if _, ok := last[key]; !ok {
			t.Errorf("no %s in %s", key, out)
		}
	}
}

func TestCreateWithKernel(t *testing.T) {
	b := imageBench(t)
	dir := kernelTree(t, "6.1", "one")
	if code, _, err := b.again(t, "kernel", "pack", dir); code != 0 {
		t.Fatalf("exit %d, %q", code, err)
	}
	if code, _, err := b.again(t, "kernel", "import", dir, "--name", "ours"); code != 0 {
		t.Fatalf("exit %d, %q", code, err)
	}
	a := b.app
	for name, want := range map[string]string{"": "", "ours": "ours", "default": "default", dir + "/boot/vmlinuz-6.1": dir + "/boot/vmlinuz-6.1"} {
		got, err := (&specFlags{kernel: name, kernels: a.kernels}).kernelOf(newCreate(a), false)
		if err != nil || got != want {
			t.Errorf("--kernel %q is %q, %v", name, got, err)
		}
	}
	for _, name := range []string{"nobody", "NoName", "./nobody"} {
		if code, _, err := b.again(t, "create", "web", "--kernel", name); code != exitUsage || !strings.Contains(err, name) {
			t.Errorf("--kernel %s: exit %d, %q", name, code, err)
		}
	}
	if code, _, err := b.again(t, "create", "web", "--machine", "pc"); code != exitUsage || !strings.Contains(err, "q35, microvm") {
		t.Errorf("exit %d, %q", code, err)
	}
}

func TestNamesWith(t *testing.T) {
	machines := []*wire.Machine{
		{Name: "a", Spec: &wire.Spec{Kernel: "ours"}}, {Name: "b", Spec: &wire.Spec{}}, {Name: "c", Spec: &wire.Spec{Kernel: "/boot/ours"}},
	}
	if got := namesWith(machines, func(s *wire.Spec) bool { return s.GetKernel() == "ours" }); len(got) != 1 || got[0] != "a" {
		t.Errorf("%v", got)
	}
}

// probeEngine is one whose starts are what outcomes says of them, by their number.
func probeEngine(outcomes map[int]any) (e *fakeEngine, starts *int) {
	starts = new(int)
	var cause string
	return &fakeEngine{answer: func(_ context.Context, msg proto.Message) (proto.Message, error) {
		switch msg.(type) {
		case *wire.InspectMachine:
			return &wire.Machine{Cause: cause}, nil
		case *wire.StartMachine:
		default:
			return &wire.Done{Machine: &wire.Machine{Id: "id"}}, nil
		}
		*starts++
		switch o := outcomes[*starts].(type) {
		case *client.RefusedError:
			cause = o.State
			return nil, o
		case error:
			return nil, o
		case string:
			return &wire.Done{Machine: &wire.Machine{KernelRelease: o, Accel: "tcg"}}, nil
		}
		return &wire.Done{Machine: &wire.Machine{KernelRelease: "6.1", Accel: "tcg"}}, nil
	}}, starts
}

func probe(b *bench, e *fakeEngine, count int) *prober {
	return &prober{
		app: b.app, engine: e, kernel: kernel.Default, count: count, cpus: 1, limit: time.Hour,
		nap:  func(context.Context, string) error { return nil },
		time: func(string) (ran, waited time.Duration, err error) { return 0, 0, nil },
	}
}

// TestProbe: what comes up and naps well is counted with its time, all else as
// hung, and the machine goes in every case.
func TestProbe(t *testing.T) {
	e, starts := probeEngine(map[int]any{
		2: &client.RefusedError{Code: wire.Code_CODE_FAILED, Message: "the agent did not answer"},
		3: &client.RefusedError{Code: wire.Code_CODE_FAILED, Message: "it panicked", State: "guest-panic"},
		9: &client.RefusedError{Code: wire.Code_CODE_LACKING, Message: "no QEMU"},
	})
	b := imageBench(t)
	s, err := b.kernels()
	if err != nil {
		t.Fatal(err)
	}
	p := probe(b, e, 5)
	p.nap = func(context.Context, string) error {
		if *starts == 4 {
			return errors.New("it sleeps on")
		}
		return nil
	}
	if err := p.all(t.Context(), s, []string{"microvm"}); err != nil {
		t.Fatal(err)
	}
	boots := s.DefaultBoots("6.1")
	if len(boots) != 1 || boots[0].Count != 5 || boots[0].Hung != 3 || boots[0].Panicked != 1 || boots[0].Board != "microvm" || boots[0].Accel != "tcg" {
		t.Errorf("%+v", boots)
	}
	if out := b.out.String(); !strings.Contains(out, "microvm: 2 of 5 came up") {
		t.Errorf("%q", out)
	}
	if said := b.err.String(); !strings.Contains(said, "the agent did not answer") || !strings.Contains(said, "it sleeps on") {
		t.Errorf("%q", said)
	}
	p.count = 10
	if err := p.all(t.Context(), s, []string{"q35"}); understood(err).message != "no QEMU" {
		t.Errorf("a host that lacks QEMU: %v", err)
	}
	if boots := s.DefaultBoots("6.1"); len(boots) != 1 {
		t.Errorf("a probe that broke off was recorded: %+v", boots)
	}
	made, gone := 0, 0
	for _, msg := range e.got {
		switch m := msg.(type) {
		case *wire.CreateMachine:
			made++
		case *wire.RemoveMachine:
			if gone++; !m.GetForce() {
				t.Error("it is removed only where it does not run")
			}
		}
	}
	if made != 2 || gone != 2 {
		t.Errorf("%d machines were made, %d removed", made, gone)
	}
}

// A probe that was stopped goes on where it was; with another program, or when the
// kernel is another, from the beginning.
func TestProbeGoesOn(t *testing.T) {
	b := imageBench(t)
	s, err := b.kernels()
	if err != nil {
		t.Fatal(err)
	}
	lacks := &client.RefusedError{Code: wire.Code_CODE_LACKING, Message: "no QEMU"}
	for _, c := range []struct {
		outcomes map[int]any
		cpus     int
		starts   int
		ends     bool
	}{
		{map[int]any{4: lacks}, 1, 4, false},
		{nil, 1, 7, true},  // three were kept
		{nil, 1, 10, true}, // that one was recorded
		{map[int]any{4: lacks}, 1, 4, false},
		{map[int]any{1: lacks}, 2, 1, false},                     // another machine: nothing is kept yet
		{map[int]any{1: "6.2", 2: "6.2", 3: lacks}, 1, 3, false}, // another kernel: two of it
		{map[int]any{1: "6.2", 2: "6.2", 3: "6.2", 4: "6.2", 5: "6.2", 6: "6.2", 7: "6.2", 8: "6.2"}, 1, 8, true},
	} {
		e, starts := probeEngine(c.outcomes)
		p := probe(b, e, 10)
		p.cpus = c.cpus
		if err := p.all(t.Context(), s, []string{"q35"}); (err == nil) != c.ends || *starts != c.starts {
			t.Errorf("%+v: %d starts, %v", c, *starts, err)
		}
	}
	for _, release := range []string{"6.1", "6.2"} {
		if boots := s.DefaultBoots(release); len(boots) != 1 || boots[0].Count != 10 || boots[0].Hung != 0 {
			t.Errorf("%s: %+v", release, boots)
		}
	}
}

// A boot for which the host had no time says nothing and is made again; a guest
// that had its time hangs.
func TestProbeOnABusyHost(t *testing.T) {
	b := imageBench(t)
	s, err := b.kernels()
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int32 // the sample is taken beside the start
		e := &fakeEngine{answer: func(_ context.Context, msg proto.Message) (proto.Message, error) {
			if _, ok := msg.(*wire.StartMachine); !ok {
				return &wire.Done{Machine: &wire.Machine{}}, nil
			}
			if calls.Add(1) < 4 {
				<-time.After(time.Minute)
			}
			return &wire.Done{Machine: &wire.Machine{KernelRelease: "6.1", Accel: "tcg"}}, nil
		}}
		p := probe(b, e, 3)
		p.limit = time.Minute
		p.time = func(string) (ran, waited time.Duration, err error) {
			n := calls.Load() - 1
			return []time.Duration{9 * time.Second, 11 * time.Second, time.Second}[n], []time.Duration{20 * time.Second, 20 * time.Second, 10 * time.Second}[n], nil
		}
		if err := p.all(t.Context(), s, []string{"q35"}); err != nil {
			t.Fatal(err)
		}
		if boots := s.DefaultBoots("6.1"); calls.Load() != 4 || len(boots) != 1 || boots[0].Count != 3 || boots[0].Hung != 2 {
			t.Errorf("%d starts, %+v", calls.Load(), boots)
		}
	})
	if said := b.err.String(); !strings.Contains(said, "made again") || !strings.Contains(said, "9s of processor time") {
		t.Errorf("%q", said)
	}
}

func TestProcessorTime(t *testing.T) {
	if _, _, err := processorTime("nobody"); err == nil {
		t.Error("a machine that does not run has a time")
	}
}

func TestProbeRefuses(t *testing.T) {
	b := imageBench(t)
	for args, code := range map[string]int{
		"default --boots 0": exitUsage, "default --machine pc": exitUsage, "nobody": exitNotFound, "No": exitUsage, "": exitUsage,
	} {
		if got, _, err := b.again(t, append([]string{"kernel", "probe"}, strings.Fields(args)...)...); got != code || err == "" {
			t.Errorf("probe %s: exit %d, %q", args, got, err)
		}
	}
}
