package actors

import (
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/fsm"
)

// TestBadSpecs: each refusal names the field, the value, what is allowed and
// the next command, and nothing of the machine stays.
func TestBadSpecs(t *testing.T) {
	e := startTestEngine(t)
	defer func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}()
	if d, ok := e.ask(t, create("web")).(*wire.Done); !ok {
		t.Fatal(d)
	}
	named := func(name string) func(*wire.CreateMachine) { return func(m *wire.CreateMachine) { m.Name = name } }
	spec := func(f func(*wire.Spec)) func(*wire.CreateMachine) {
		return func(m *wire.CreateMachine) { f(m.Spec) }
	}
	for name, c := range map[string]struct {
		change func(*wire.CreateMachine)
		exit   int
		field  string
		says   []string
	}{
		"empty name":        {named(""), 2, "name", []string{`name ""`, "1 to 63"}},
		"dots":              {named(".."), 2, "name", []string{`name ".."`, "1 to 63"}},
		"a path":            {named("a/b"), 2, "name", []string{`name "a/b"`, "1 to 63"}},
		"64 characters":     {named(strings.Repeat("x", 64)), 2, "name", []string{"xxx", "1 to 63"}},
		"a hyphen first":    {named("-a"), 2, "name", []string{`"-a"`, "both ends"}},
		"no ASCII":          {named("ü"), 2, "name", []string{"ü", "1 to 63"}},
		"taken":             {named("web"), 4, "name", []string{`machine "web" already`, "arcbox inspect web"}},
		"taken, upper case": {named("WEB"), 4, "name", []string{`name "WEB"`, `machine "web" already`, "without case", "arcbox inspect web"}},
		"endless CPUs":      {spec(func(s *wire.Spec) { s.Cpus = 1 << 31 }), 2, "cpus", []string{"cpus 2147483648", "1 to 4"}},
		"too many CPUs":     {spec(func(s *wire.Spec) { s.Cpus = 5 }), 2, "cpus", []string{"cpus 5", "1 to 4"}},
		"little memory":     {spec(func(s *wire.Spec) { s.Memory = 63 << 20 }), 2, "memory", []string{"memory 63M", "64M to 1048576M"}},
		"odd memory":        {spec(func(s *wire.Spec) { s.Memory = 64<<20 - 1 }), 2, "memory", []string{"memory 67108863 bytes", "64M to"}},
		"negative memory":   {spec(func(s *wire.Spec) { s.Memory = -1 }), 2, "memory", []string{"memory -1 bytes", "64M to"}},
		"much memory":       {spec(func(s *wire.Spec) { s.Memory = 2 << 40 }), 2, "memory", []string{"memory 2097152M", "the memory of this host"}},
		"relative kernel":   {spec(func(s *wire.Spec) { s.Kernel = "./vmlinuz" }), 2, "kernel", []string{`kernel "./vmlinuz"`, "absolute path", "arcbox kernel ls"}},
		"kernel's comma":    {spec(func(s *wire.Spec) { s.Kernel = "/a,b" }), 2, "kernel", []string{`kernel "/a,b"`, "without commas"}},
		"long cmdline":      {spec(func(s *wire.Spec) { s.Cmdline = strings.Repeat("x", 1025) }), 2, "cmdline", []string{"1024"}},
		"a line break":      {spec(func(s *wire.Spec) { s.Cmdline = "a\nb" }), 2, "cmdline", []string{"control characters"}},
		"unknown backend":   {spec(func(s *wire.Spec) { s.Backend = "xen" }), 2, "backend", []string{`backend "xen"`, "qemu, vz or sim"}},
		"vz here":           {spec(func(s *wire.Spec) { s.Backend = "vz" }), 2, "backend", []string{"macOS only"}},
		"sim":               {spec(func(s *wire.Spec) { s.Backend = "sim" }), 7, "", []string{"--allow-sim", "arcbox engine start --allow-sim"}},
		"unknown accel":     {spec(func(s *wire.Spec) { s.Accel = "fast" }), 2, "accel", []string{`accel "fast"`, "auto, kvm or tcg"}},
		"unknown machine":   {spec(func(s *wire.Spec) { s.Board = "pc" }), 2, "machine", []string{`machine "pc"`, "auto, q35 or microvm"}},
		"vz's machine":      {spec(func(s *wire.Spec) { s.Backend, s.Board = "vz", "q35" }), 2, "backend", []string{"macOS only"}},
		"unknown arch":      {spec(func(s *wire.Spec) { s.Arch = "vax" }), 2, "arch", []string{`arch "vax"`, "amd64 or arm64"}},
		"a PC of arm64":     {spec(func(s *wire.Spec) { s.Arch, s.Board = "arm64", "q35" }), 2, "machine", []string{`machine "q35"`, "always a virt"}},
		"unknown policy":    {spec(func(s *wire.Spec) { s.Restart = "maybe" }), 2, "restart", []string{`restart "maybe"`, "no, on-failure or always"}},
		"a label's key":     {spec(func(s *wire.Spec) { s.Labels = map[string]string{"a=b": ""} }), 2, "label", []string{`label "a=b"`, "1 to 63 letters"}},
		"a label's value":   {spec(func(s *wire.Spec) { s.Labels = map[string]string{"a": "x\ny"} }), 2, "label", []string{"label a, value", "no control"}},
		"many labels":       {spec(func(s *wire.Spec) { s.Labels = manyLabels(65) }), 2, "label", []string{"65 labels", "at most 64"}},
		"protected, owned":  {spec(func(s *wire.Spec) { s.Owner, s.Protected = strings.Repeat("a", 32), true }), 2, "protect", []string{"with the command"}},
		"a lonely script":   {spec(func(s *wire.Spec) { s.Script = "x" }), 2, "script", []string{"only for backend sim"}},
	} {
		msg := create("new")
		c.change(msg)
		r, ok := e.ask(t, msg).(*wire.Refused)
		if !ok || c.exit != r.GetCode().ExitCode() || r.GetField() != c.field || r.GetHint() == "" {
			t.Errorf("%s: %v", name, r)
		}
		for _, part := range c.says {
			if !strings.Contains(r.GetMessage()+"\n"+r.GetHint(), part) {
				t.Errorf("%s: %q, %q does not say %q", name, r.GetMessage(), r.GetHint(), part)
			}
		}
	}
	if all := e.ask(t, &wire.ListMachines{}).(*wire.Machines).GetMachines(); len(all) != 1 {
		t.Errorf("%d machines are left", len(all))
	}
	if d, ok := e.ask(t, create("new")).(*wire.Done); !ok {
		t.Errorf("the name of a refused machine: %v", d)
	}
}

// TestCPUsOfTheEnginesHost: who does not say how many gets those of the engine's host,
// which are not those of a client elsewhere; they are in the record.
func TestCPUsOfTheEnginesHost(t *testing.T) {
	s, err := checkSpec(&wire.Spec{Memory: 64 << 20}, Limits{CPUs: 3, Memory: 1 << 30}, false)
	if err != nil || s.CPUs != 3 {
		t.Errorf("%d CPUs, %v", s.CPUs, err)
	}
}

func manyLabels(n int) map[string]string {
	labels := map[string]string{}
	for i := range n {
		labels["k"+strconv.Itoa(i)] = ""
	}
	return labels
}

// TestLabelsChange: what is set and taken away counts together, and nothing that a
// machine had is changed under whoever reads it.
func TestLabelsChange(t *testing.T) {
	had := fsm.Spec{Labels: map[string]string{"a": "1", "b": ""}}
	got, r := changedLabels(had, &wire.SetMachine{Labels: map[string]string{"a": "2", "c": ""}, RemoveLabels: []string{"b", "nothing"}})
	if d := cmp.Diff(map[string]string{"a": "2", "c": ""}, got.Labels); r != nil || d != "" || had.Labels["a"] != "1" || len(had.Labels) != 2 {
		t.Error(r, d, had.Labels)
	}
	if none, r := changedLabels(had, &wire.SetMachine{RemoveLabels: []string{"a", "b"}}); r != nil || none.Labels != nil {
		t.Errorf("%v, %v", none.Labels, r)
	}
	if same, r := changedLabels(fsm.Spec{}, &wire.SetMachine{Cpus: 1}); r != nil || !same.Equal(fsm.Spec{}) {
		t.Errorf("%v, %v", same, r)
	}
}
