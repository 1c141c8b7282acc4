package actors

import (
	"testing"

	"github.com/arcboxlabs/arcbox-engine/fsm"
)

// A machine is outdated while it runs in a VM host of another version.
func TestOutdatedBy(t *testing.T) {
	s := &shared{Options: Options{Version: "2"}}
	for _, c := range []struct {
		state fsm.State
		host  string
		want  string
	}{
		{fsm.Running, "1", "2"}, {fsm.Starting, "1", "2"}, {fsm.Stopping, "1", "2"},
		{fsm.Running, "2", ""}, {fsm.Running, "", ""}, {fsm.Stopped, "1", ""},
	} {
		m := &Seen{Machine: fsm.Machine{State: c.state, Launch: &fsm.Launch{Launched: &fsm.LaunchedFact{Version: c.host}}}}
		if got := machineOnWire(s, m, false).GetOutdatedBy(); got != c.want {
			t.Errorf("%s in a VM host of %q: outdated by %q, want %q", c.state, c.host, got, c.want)
		}
	}
}

// So it is while its agent is of another build than the next start's, where that is
// known.
func TestAgentOutdatedBy(t *testing.T) {
	s := &shared{Options: Options{Version: "2", AgentOf: func(spec fsm.Spec, kernel string) string {
		if spec.Initrd != "" {
			return ""
		}
		return "new-" + kernel
	}}}
	for _, c := range []struct {
		state         fsm.State
		agent, initrd string
		want          string
	}{
		{fsm.Running, "old", "", "new-k"}, {fsm.Stopping, "dev", "", "new-k"}, {fsm.Running, "new-k", "", ""},
		{fsm.Running, "old", "/its/own", ""}, {fsm.Starting, "", "", ""}, {fsm.Stopped, "old", "", ""},
	} {
		launch := &fsm.Launch{Launched: &fsm.LaunchedFact{Version: "2", Kernel: "k"}, Ready: &fsm.ReadyFact{AgentVersion: c.agent}}
		m := &Seen{Machine: fsm.Machine{State: c.state, Spec: fsm.Spec{Initrd: c.initrd}, Launch: launch}}
		got := machineOnWire(s, m, false)
		if got.GetAgentOutdatedBy() != c.want || got.GetOutdatedBy() != "" {
			t.Errorf("%s with agent %q and initramfs %q: outdated by %q and %q, want %q", c.state, c.agent, c.initrd, got.GetAgentOutdatedBy(), got.GetOutdatedBy(), c.want)
		}
	}
}
