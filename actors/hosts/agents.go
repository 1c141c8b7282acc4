package hosts

import (
	"path/filepath"
	"sync"

	"github.com/arcboxlabs/arcbox-engine/fsm"
	"github.com/arcboxlabs/arcbox-engine/guest/boot"
	"github.com/arcboxlabs/arcbox-engine/guest/kernel"
	"github.com/arcboxlabs/arcbox-engine/hv"
)

// agentsFor is what a build of the agent is for: the assets of a kernel of the store
// are made by the engine of the agent beside it, all others were prepared before.
type agentsFor struct {
	arch  hv.Arch
	store bool
}

// agents are the builds that launches get, as they were last seen.
type agents struct {
	mu   sync.Mutex
	name map[agentsFor]string
}

func (a *agents) saw(what agentsFor, name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.name == nil {
		a.name = map[agentsFor]string{}
	}
	a.name[what] = name
}

// SeeAgents looks at what there is to boot from; later every launch does.
func (w *World) SeeAgents() {
	for _, arch := range boot.Archs {
		if a, err := boot.Find(arch, w.Boot...); err == nil {
			w.agents.saw(agentsFor{hv.Arch(arch), false}, a.Agent)
		}
		w.agents.saw(agentsFor{hv.Arch(arch), true}, boot.AgentBuild(boot.AgentPath(w.Agent, arch)))
	}
}

// AgentOf is the build of the agent that a machine would be given today; "" = nobody
// knows. It reads nothing. name is that of the kernel that it was launched with.
func (w *World) AgentOf(spec fsm.Spec, name string) string {
	if spec.Initrd != "" || hv.Backend(spec.Backend) == hv.BackendSim {
		return "" // its own, or none
	}
	w.agents.mu.Lock()
	defer w.agents.mu.Unlock()
	return w.agents.name[agentsFor{archOf(spec), name != "" && name != kernel.Default && !filepath.IsAbs(name)}]
}
