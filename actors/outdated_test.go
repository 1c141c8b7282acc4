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
