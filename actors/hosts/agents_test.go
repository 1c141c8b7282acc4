package hosts

import (
	"testing"

	"github.com/arcboxlabs/arcbox-engine/fsm"
	"github.com/arcboxlabs/arcbox-engine/hv"
)

// Which agent a machine would be given is known of those that are given one here.
func TestAgentOf(t *testing.T) {
	w := New(Options{})
	if got := w.AgentOf(fsm.Spec{Backend: "qemu"}, ""); got != "" {
		t.Errorf("before anything was seen: %q", got)
	}
	w.agents.saw(agentsFor{hv.ArchAMD64, false}, "prepared")
	w.agents.saw(agentsFor{hv.ArchAMD64, true}, "beside")
	for want, c := range map[string][]struct {
		spec   fsm.Spec
		kernel string
	}{
		"prepared": {{fsm.Spec{Arch: "amd64"}, ""}, {fsm.Spec{Arch: "amd64"}, "default"}, {fsm.Spec{Arch: "amd64", Kernel: "/boot/k"}, "/boot/k"}},
		"beside":   {{fsm.Spec{Arch: "amd64"}, "own"}},
		"": {
			{fsm.Spec{Arch: "arm64"}, ""}, {fsm.Spec{Arch: "amd64", Initrd: "/boot/i", Kernel: "/boot/k"}, ""}, {fsm.Spec{Arch: "amd64", Backend: "sim"}, ""},
		},
	} {
		for _, given := range c {
			if got := w.AgentOf(given.spec, given.kernel); got != want {
				t.Errorf("%+v with the kernel %q: %q, want %q", given.spec, given.kernel, got, want)
			}
		}
	}
}
