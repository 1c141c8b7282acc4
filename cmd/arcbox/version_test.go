package main

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/arcboxlabs/arcbox-engine/actors/client"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

// upgraded is an engine of version 2.0 with machines of before and after.
func upgraded(_ context.Context, msg proto.Message) (proto.Message, error) {
	spec := &wire.Spec{Backend: "sim"}
	old := &wire.Machine{Name: "a", State: "Running", Health: "ok", HostVersion: "1.0", AgentVersion: "g1", OutdatedBy: "2.0", Spec: spec}
	if _, ok := msg.(*wire.InspectMachine); ok {
		return old, nil
	}
	return &wire.Machines{Engine: &wire.EngineInfo{Version: "2.0", Pid: 7}, Machines: []*wire.Machine{
		{Name: "c", State: "Starting", Health: "ok", HostVersion: "2.0", Spec: &wire.Spec{}},
		old,
		{Name: "b", State: "Running", Health: "degraded", HealthWhy: "it hangs", HostVersion: "1.0", AgentVersion: "g2\x1b[2J", OutdatedBy: "2.0", Spec: &wire.Spec{}},
		{Name: "e", State: "Running", Health: "ok", HostVersion: "2.0", AgentVersion: "g1", AgentOutdatedBy: "g3", Spec: &wire.Spec{}},
		{Name: "d", State: "Stopped", Health: "ok", HostVersion: "0.9", AgentVersion: "g0", Spec: &wire.Spec{}},
	}}, nil
}

func TestVersion(t *testing.T) {
	b := newBench(t, &fakeEngine{answer: upgraded})
	if code := b.run(t, "version"); code != 0 {
		t.Fatal(b.err.String())
	}
	lines := strings.Split(strings.TrimSpace(b.out.String()), "\n")
	want := []string{
		"arcbox-engine  2.0 (pid 7)", "arcbox-vmhost  1.0 (a, b), outdated: arcbox restart a b", "arcbox-vmhost  2.0 (c, e)",
		"arcbox-agent   g1 (a)", "arcbox-agent   g1 (e), outdated: arcbox restart e", "arcbox-agent   g2\uFFFD[2J (b)",
	}
	if len(lines) != 7 || strings.Join(lines[1:], "\n") != strings.Join(want, "\n") {
		t.Errorf("%s\nwant\n%s", b.out.String(), strings.Join(want, "\n"))
	}

	b.out.Reset()
	if code := b.run(t, "version", "--format", "json"); code != 0 {
		t.Fatal(b.err.String())
	}
	var got versionJSON
	if err := json.Unmarshal(b.out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.VMHosts) != 2 || !got.VMHosts[0].Outdated || got.VMHosts[1].Outdated || len(got.Agents) != 3 || !got.Agents[1].Outdated || got.Agents[2].Outdated || got.Engine.Version != "2.0" {
		t.Errorf("%+v", got)
	}
	for _, key := range []string{`"cli"`, `"engine"`, `"vm_hosts"`, `"agents"`, `"machines"`, `"outdated"`} {
		if !strings.Contains(b.out.String(), key) {
			t.Errorf("no %s in %s", key, b.out.String())
		}
	}
}

func TestManyMachinesOfAVersionAreCounted(t *testing.T) {
	names := []string{"a", "b", "c", "d", "e", "f"}
	if got := someOf(names); got != "6 machines" {
		t.Errorf("%q", got)
	}
	if got := someOf(names[:5]); got != "a, b, c, d, e" {
		t.Errorf("%q", got)
	}
}

func TestOutdatedIsShown(t *testing.T) {
	for args, want := range map[string]string{
		"list --columns name,health":                           "a ok (sim, outdated)\nb degraded: it hangs (outdated)\nc ok\nd -\ne ok (outdated)",
		"list --columns name,health --filter health=outdated":  "a ok (sim, outdated)\nb degraded: it hangs (outdated)\ne ok (outdated)",
		"list --format {{.name}},{{.outdated}}":                "a,true\nb,true\nc,false\nd,false\ne,true",
		"list --columns name,health --filter health=degraded*": "b degraded: it hangs (outdated)",
	} {
		b := newBench(t, &fakeEngine{answer: upgraded})
		if code := b.run(t, strings.Fields(args)...); code != 0 {
			t.Errorf("%s: exit %d: %s", args, code, b.err.String())
		}
		var got []string
		for line := range strings.Lines(b.out.String()) {
			if got = append(got, strings.Join(strings.Fields(line), " ")); strings.HasPrefix(line, "NAME") {
				got = got[:len(got)-1]
			}
		}
		if strings.Join(got, "\n") != want {
			t.Errorf("%s:\n%s\nwant\n%s", args, strings.Join(got, "\n"), want)
		}
	}
	b := newBench(t, &fakeEngine{answer: upgraded})
	if code := b.run(t, "inspect", "a"); code != 0 || !strings.Contains(b.out.String(), "1.0, outdated: arcbox restart a gives it one of 2.0") {
		t.Errorf("exit %d: %s", code, b.out.String())
	}
}

// An engine that does not answer in time is not said to be none.
func TestVersionOfAnEngineThatIsMute(t *testing.T) {
	b := newBench(t, nil)
	b.connect = func(context.Context, client.Door) (engine, error) { return nil, client.ErrMute }
	if code := b.run(t, "version"); code != 0 || !strings.Contains(b.out.String(), "does not answer") || strings.Contains(b.out.String(), "not running") {
		t.Errorf("exit %d: %s", code, b.out.String())
	}
}

// One that is slow is told of, and of one that takes too long it is said for how long.
func TestVersionOfAnEngineThatIsSlow(t *testing.T) {
	for takes, want := range map[time.Duration]string{3 * time.Second: "arcbox-engine  2.0 (pid 7)", time.Minute: "does not answer: it said nothing within 5s"} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, &fakeEngine{answer: func(ctx context.Context, msg proto.Message) (proto.Message, error) {
				select {
				case <-time.After(takes):
					return upgraded(ctx, msg)
				case <-ctx.Done():
					return nil, ctx.Err()
				}
			}})
			if code := b.run(t, "version"); code != 0 || !strings.Contains(b.out.String(), want) {
				t.Errorf("exit %d: no %q in %s", code, want, b.out.String())
			}
		})
	}
}
