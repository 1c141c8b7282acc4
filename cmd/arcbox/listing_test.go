package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

func TestListChooses(t *testing.T) {
	for args, want := range map[string]string{
		"-q --filter state=stopped":                                   "DB tired",
		"-q --filter state=stopped --filter state=running":            "DB tired web",
		"-q --filter state=stopped --filter name=t*":                  "tired",
		"-q --filter NAME=WEB":                                        "web",
		"-q --filter health=degraded --filter cause=crash*":           "tired",
		"-q --filter health=*unreadable":                              "evil\uFFFD[2J",
		"-q --filter backend=sim":                                     "fake",
		"-q --filter ip=10.*":                                         "web",
		"-q --filter image=":                                          "DB evil\uFFFD[2J fake tired web",
		"-q --filter name=none":                                       "",
		"-q --sort -mem":                                              "web DB fake tired evil\uFFFD[2J",
		"-q --sort age --filter name=[^e]*":                           "fake DB tired web",
		"-q --sort state":                                             "evil\uFFFD[2J web fake DB tired",
		"--columns name,cpus,backend --filter name=web":               "NAME CPUS BACKEND web 2 qemu",
		"--columns Name --columns mem --sort -name --filter name=?*b": "NAME MEM web 4G DB 1536M",
		"--format {{.name}}={{.cpus}},{{.address}} --filter name=*b":  "DB=1, web=2,10.0.0.2",
	} {
		t.Run(args, func(t *testing.T) {
			b := newBench(t, &fakeEngine{answer: world})
			if code := b.run(t, append([]string{"list"}, strings.Fields(args)...)...); code != 0 {
				t.Fatalf("exit %d: %s", code, b.err.String())
			}
			if d := cmp.Diff(strings.Fields(want), strings.Fields(b.out.String())); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestListRefuses(t *testing.T) {
	for args, want := range map[string]string{
		"--filter stat=x":             "did you mean state",
		"--filter mem=4G":             "one of backend, cause, desired",
		"--filter running":            "KEY=VALUE",
		"--filter name=[":             "not a pattern",
		"--columns name,memory":       `no column "memory": one of name, state`,
		"--sort -stat":                "did you mean state",
		"--format yaml":               "table or json, or a template",
		"--format {{.name":            "--format",
		"--format {{.nome}}":          "its names are those of --format json",
		"--format {{.name.a}}":        "its names are those of --format json",
		"--format {{.name|printf}} x": "takes no argument",
	} {
		t.Run(args, func(t *testing.T) {
			b := newBench(t, &fakeEngine{answer: world})
			code := b.run(t, append([]string{"list"}, strings.Fields(args)...)...)
			if code != exitUsage || !strings.Contains(b.err.String(), want) || b.out.Len() > 0 && !strings.Contains(args, ".nome") {
				t.Errorf("exit %d, out %q, err %q", code, b.out.String(), b.err.String())
			}
		})
	}
	b := newBench(t, &fakeEngine{answer: world})
	if code := b.run(t, "version", "--format", "{{.name}}"); code != exitUsage || !strings.Contains(b.err.String(), "no template") {
		t.Errorf("exit %d, err %q", code, b.err.String())
	}
}

// TestBrokenRowHidesNoOther: a template that fails on one row prints the others.
func TestBrokenRowHidesNoOther(t *testing.T) {
	b := newBench(t, answers(&wire.Machines{Machines: []*wire.Machine{
		{Name: "a", Spec: &wire.Spec{Blocks: []*wire.Block{{Path: "/x"}}}}, {Name: "b"}, nil, {Name: "c", Spec: &wire.Spec{Blocks: []*wire.Block{{Path: "/z\x1b"}}}},
	}}, nil))
	code := b.run(t, "list", "--format", "{{.name}} {{(index .blocks 0).path}}")
	if code != exitUsage || b.out.String() != "a /x\nc /z\uFFFD\n" {
		t.Errorf("exit %d, out %q, err %q", code, b.out.String(), b.err.String())
	}
}

// TestBend: cells give way, the widest first, and only as far as they must.
func TestBend(t *testing.T) {
	for _, c := range []struct {
		width int
		want  []string
	}{
		{80, []string{"web", "abcdefghijklmnopqrstuvwxyz", "abcdefghijklmno"}},
		{40, []string{"web", "abcdefghijklmnop…", "abcdefghijklmno"}},
		{31, []string{"web", "abcdefghij…", "abcdefghijk…"}},
		{5, []string{"web", "abcdefghi…", "abcdefghi…"}},
	} {
		row := []string{"web", "abcdefghijklmnopqrstuvwxyz", "abcdefghijklmno"}
		bend(c.width, []string{"NAME", "HEALTH", "CAUSE"}, [][]string{row}, []bool{false, true, true})
		if d := cmp.Diff(c.want, row); d != "" {
			t.Errorf("%d: %s", c.width, d)
		}
	}
}
