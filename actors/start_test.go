package actors

import (
	"testing"
	"time"

	"github.com/arcboxlabs/arcbox-engine/fsm"
)

// What somebody allowed a slow guest, the restart policy allows it as well; what was
// allowed in a hurry holds for that start only.
func TestAllowedLast(t *testing.T) {
	for _, c := range []struct {
		launch *fsm.Launch
		want   time.Duration
	}{
		{nil, DefaultStart}, {&fsm.Launch{}, DefaultStart},
		{&fsm.Launch{Allowed: 5 * time.Second}, DefaultStart}, {&fsm.Launch{Allowed: 10 * time.Minute}, 10 * time.Minute},
	} {
		m := newMachine(&shared{}, fsm.Machine{State: fsm.Stopped, Launch: c.launch}, false)
		if got, again := m.allowedLast(), m.restartAllowed(); got != c.want || again != c.want {
			t.Errorf("%+v: %s, and %s for a restart that nobody waits for; want %s", c.launch, got, again, c.want)
		}
	}
}
