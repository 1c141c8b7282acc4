package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

const schemaPath = "../../docs/machine.schema.json"

// create is the command whose flags a machine file's keys are.
func createCommand(t *testing.T) *cobra.Command {
	t.Helper()
	cmd, _, err := newRoot(newBench(t, nil).app).Find([]string{"create"})
	if err != nil {
		t.Fatal(err)
	}
	return cmd
}

// Whatever create takes, a machine file does, and the other way round.
func TestFileKeysAreFlags(t *testing.T) {
	cmd := createCommand(t)
	cmd.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
		if f.Name != "file" && f.Name != "help" && !slices.Contains(specNames, f.Name) {
			t.Errorf("--%s is not in specNames, so that a machine file can't say it", f.Name)
		}
	})
	for _, name := range specNames {
		if cmd.Flags().Lookup(name) == nil {
			t.Errorf("%s is no flag of create", name)
		}
	}
}

// The schema is made from the flags: go test -update writes it.
func TestMachineSchema(t *testing.T) {
	cmd := createCommand(t)
	text := map[string]any{"type": "string", "minLength": 1}
	shapes := map[string]func() map[string]any{
		"string":   func() map[string]any { return map[string]any{"type": "string"} },
		"duration": func() map[string]any { return map[string]any{"type": "string"} },
		"int":      func() map[string]any { return map[string]any{"type": "integer", "minimum": 1} },
		"bool":     func() map[string]any { return map[string]any{"type": "boolean"} },
		"size":     func() map[string]any { return map[string]any{"type": []string{"string", "number"}} },
		"stringArray": func() map[string]any {
			return map[string]any{"type": "array", "items": text}
		},
	}
	words := map[string][]string{"backend": backends, "restart": policies, "accel": accels, "machine": machineTypes, "arch": archs, "vsock": vsocks}
	properties := map[string]any{"name": map[string]any{
		"type": "string", "pattern": "^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$", "description": "the machine's name, where the command line has none",
	}}
	for _, name := range specNames {
		f := cmd.Flags().Lookup(name)
		shape := shapes[f.Value.Type()]
		if shape == nil {
			t.Fatalf("--%s: a flag of type %s has no shape in a machine file", name, f.Value.Type())
		}
		p := shape()
		p["description"] = f.Usage
		if len(words[name]) > 0 {
			p["enum"] = words[name]
		}
		properties[name] = p
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetIndent("", "  ")
	if err := enc.Encode(map[string]any{
		"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "A machine file of arcbox create -f",
		"type": "object", "additionalProperties": false, "properties": properties,
	}); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(schemaPath, out.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(schemaPath)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), out.String()); d != "" {
		t.Errorf("the flags of create changed; go test ./cmd/arcbox -update makes the schema (-want +got):\n%s", d)
	}
}

func TestMachineFile(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a.img", "b.img", "vmlinuz"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "machine.yaml")
	text := "name: db # the big one\ncpus: 2\nmemory: 1.5G\nrestart: no\nbackend: sim\nkernel: ./vmlinuz\naccel: tcg\nblock:\n  - a.img:ro\n  - " + dir + "/b.img\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	blocks := []*wire.Block{{Path: dir + "/a.img", ReadOnly: true}, {Path: dir + "/b.img"}}
	for _, c := range []struct {
		args []string
		name string
		spec *wire.Spec
	}{
		{[]string{"create", "-f", file}, "db", &wire.Spec{Cpus: 2, Memory: 1536 << 20, Restart: "no", Backend: "sim", Kernel: dir + "/vmlinuz", Accel: "tcg", Blocks: blocks}},
		{[]string{"create", "web", "--file", file, "--cpus", "1", "--memory", "64", "--block", file, "--restart", "always"}, "web", &wire.Spec{
			Cpus: 1, Memory: 64 << 20, Restart: "always", Backend: "sim", Kernel: dir + "/vmlinuz", Accel: "tcg", Blocks: []*wire.Block{{Path: file}}}},
	} {
		e := answers(&wire.Done{Machine: &wire.Machine{Name: "a", State: "Created"}}, nil)
		b := newBench(t, e)
		if code := b.run(t, c.args...); code != 0 {
			t.Fatalf("%v: exit %d, %s", c.args, code, b.err.String())
		}
		if d := cmp.Diff(&wire.CreateMachine{Name: c.name, Spec: c.spec}, e.got[0].(*wire.CreateMachine), protocmp.Transform(), protocmp.IgnoreMessages(&wire.Request{})); d != "" {
			t.Errorf("%v (-want +got):\n%s", c.args, d)
		}
	}
	e := answers(machines()[0], nil) // it is there already
	b := newBench(t, e)
	if b.run(t, "up", "-f", file); !strings.Contains(b.err.String(), "db is there already: --file had no effect") {
		t.Errorf("%q", b.err.String())
	}
	b = newBench(t, answers(&wire.Done{Machine: &wire.Machine{Name: "x", State: "Created"}}, nil))
	b.stdin = strings.NewReader("name: x\nmemory: 512\n")
	if code := b.run(t, "create", "-f", "-"); code != 0 || b.out.String() != "x: Created\n" {
		t.Errorf("from standard input: exit %d, %q, %q", code, b.out.String(), b.err.String())
	}
}

func TestMachineFileRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                                       "there is nothing in it",
		"- a":                                    "standard input:1: keys and values are needed",
		"cpus: 1\n\nmemroy: 2G":                  `standard input:3: there is no key "memroy"; did you mean "memory"?`,
		"Name: x":                                `did you mean "name"?`,
		"tenants: {}":                            "there are name, ",
		"? [a]\n: b":                             "there is no key",
		"cpus: 1\ncpus: 2":                       "standard input:2: cpus is there twice, first in line 1",
		"cpus: 1\n---\ncpus: 2":                  "one machine to a file",
		"cpus: two":                              `standard input:1: cpus "two": a whole number is needed`,
		"\ncpus: 0":                              "standard input:2: cpus 0: at least 1",
		"memory: 5X":                             `standard input:1: memory "5X": `,
		"memory: 1M":                             "standard input:1: memory 1M: at least 64M",
		"memory: [1]":                            "standard input:1: memory: a plain value",
		"memory:":                                "standard input:1: memory: its value is missing",
		"cmdline: 5":                             `standard input:1: cmdline "5": text is needed; put it into quotes`,
		"cmdline: &a x":                          "without anchors",
		"cpus: &a 1\nmemory: *a":                 "without anchors",
		"backend: vbox":                          "standard input:1: backend \"vbox\": one of",
		"name: -x":                               `standard input:1: name "-x": 1 to 63 letters`,
		"block: a.img":                           "standard input:1: block: a list is needed",
		"block:\n  - /nobody/here":               "standard input:1: block \"/nobody/here\"",
		"cpus: 1\n\tmemory: 1":                   "standard input: line 2",
		"cpus: \"1":                              "standard input: ",
		"cmdline: " + strings.Repeat("x", 1<<16): "at most 65536 bytes",
	} {
		b := newBench(t, nil)
		b.stdin = strings.NewReader(text)
		if code := b.run(t, "create", "-f", "-"); code != exitUsage || !strings.Contains(b.err.String(), want) || !strings.Contains(b.err.String(), "\nhint: ") {
			t.Errorf("%.40q: exit %d, %q, want %q", text, code, b.err.String(), want)
		}
	}
	b := newBench(t, nil)
	if code := b.run(t, "create", "-f", "/nobody.yaml"); code != exitUsage || !strings.Contains(b.err.String(), `--file "/nobody.yaml": no such file`) {
		t.Errorf("exit %d, %q", code, b.err.String())
	}
}

// No file makes the command panic or hang, and what it takes is within bounds.
func FuzzMachineFile(f *testing.F) {
	f.Add("name: a\ncpus: 2\nblock: [x]")
	f.Add("a: &a [*a]")
	f.Add("? - b\n: |\n c")
	f.Fuzz(func(t *testing.T, text string) {
		m := &machineFile{path: "f", lines: map[string]int{}}
		top, err := m.parse([]byte(text))
		if err == nil && (len(top)%2 != 0 || len(m.lines) != len(top)/2) {
			t.Errorf("%d nodes, keys %v", len(top), m.lines)
		}
	})
}
