package main

import (
	"context"
	"errors"
	"time"

	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
		got, err := (&specFlags{kernel: name, kernels: a.kernels}).kernelOf(newCreate(a))
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

// TestProbe: what comes up and naps well is counted with its time, all else as
// hung, and the machine goes in every case.
func TestProbe(t *testing.T) {
	starts := 0
	e := &fakeEngine{answer: func(_ context.Context, msg proto.Message) (proto.Message, error) {
		if _, ok := msg.(*wire.StartMachine); !ok {
			return &wire.Done{}, nil
		}
		switch starts++; starts {
		case 2:
			return nil, &client.RefusedError{Code: wire.Code_CODE_FAILED, Message: "the agent did not answer"}
		case 9:
			return nil, &client.RefusedError{Code: wire.Code_CODE_LACKING, Message: "no QEMU"}
		}
		return &wire.Done{Machine: &wire.Machine{KernelRelease: "6.1", Accel: "tcg"}}, nil
	}}
	b := imageBench(t)
	s, err := b.kernels()
	if err != nil {
		t.Fatal(err)
	}
	naps := 0
	p := &prober{app: b.app, engine: e, kernel: kernel.Default, count: 4, cpus: 1, limit: time.Second, nap: func(context.Context, string) error {
		if naps++; naps == 2 {
			return errors.New("it sleeps on")
		}
		return nil
	}}
	if err := p.all(t.Context(), s, []string{"microvm"}); err != nil {
		t.Fatal(err)
	}
	boots := s.DefaultBoots("6.1")
	if len(boots) != 1 || boots[0].Count != 4 || boots[0].Hung != 2 || boots[0].Board != "microvm" || boots[0].Accel != "tcg" {
		t.Errorf("%+v", boots)
	}
	if out := b.out.String(); !strings.Contains(out, "microvm: 2 of 4 came up") {
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
		t.Errorf("a probe that broke off was kept: %+v", boots)
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
