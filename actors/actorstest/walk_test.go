package actorstest

import (
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/fsm"
)

// TestWalks walks at random and holds each walk against the dumb reading of
// its history.
func TestWalks(t *testing.T) {
	t.Parallel()
	walks := "10000"
	switch {
	case testing.Short():
		walks = "100"
	case race:
		walks = "1000"
	}
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue {
		if err := f.Value.Set(walks); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = f.Value.Set(f.DefValue) }()
	}
	steps, done := map[string]int{}, 0
	bubble(t, func(t *testing.T) {
		rapid.Check(inBubble{t}, func(rt *rapid.T) { walk(rt, steps); done++ })
	})
	if !t.Failed() {
		figures(t, "%d walks, steps: %v", done, steps)
	}
}

// inBubble hides the test's deadline, which a bubble's clock knows nothing of.
type inBubble struct{ rapid.TB }

func walk(rt *rapid.T, steps map[string]int) {
	w, err := NewWalk()
	if err != nil {
		rt.Fatal(err)
	}
	defer func() {
		if err := w.Close(); err != nil {
			rt.Errorf("close: %v", err)
		}
	}()
	actions := map[string]func(*rapid.T){}
	for name, act := range walks {
		actions[name] = func(rt *rapid.T) {
			steps[strings.TrimRight(name, "0123456789")]++
			act(rt, w)
		}
	}
	actions[""] = func(rt *rapid.T) {
		if broken := w.World.Broken(); len(broken) > 0 {
			rt.Fatalf("%v\n%s", broken, w.history())
		}
	}
	rt.Repeat(actions)
	if err := w.Judge(); err != nil {
		rt.Fatalf("%v\n%s", err, w.history())
	}
	if err := w.Clear(); err != nil {
		rt.Fatalf("%v\n%s", err, w.history())
	}
}

var (
	names   = rapid.SampledFrom([]string{"a", "b", "B", "c"})
	clients = rapid.SampledFrom([]string{"uid:0", "uid:1"})
	spans   = rapid.SampledFrom([]time.Duration{time.Second, 3 * time.Second, 20 * time.Second, 90 * time.Second, 10 * time.Minute})
)

// walks are the steps of a walk. A digit at the end only makes a step likelier.
var walks = map[string]func(*rapid.T, *Walk){
	"create":  create,
	"create2": create,
	"start":   start,
	"start2":  start,
	"stop": func(rt *rapid.T, w *Walk) {
		name, how := names.Draw(rt, "name"), rapid.IntRange(0, 3).Draw(rt, "how")
		timeout := int64(spans.Draw(rt, "timeout"))
		send(rt, w, func(r *wire.Request) proto.Message {
			return &wire.StopMachine{Request: r, Name: name, TimeoutNanos: timeout, Kill: how == 1, NoKill: how == 2}
		})
	},
	"restart": func(rt *rapid.T, w *Walk) {
		name, timeout := names.Draw(rt, "name"), int64(spans.Draw(rt, "timeout"))
		send(rt, w, func(r *wire.Request) proto.Message {
			return &wire.RestartMachine{Request: r, Name: name, TimeoutNanos: timeout}
		})
	},
	"remove": func(rt *rapid.T, w *Walk) {
		name, force := names.Draw(rt, "name"), rapid.Bool().Draw(rt, "force")
		send(rt, w, func(r *wire.Request) proto.Message {
			return &wire.RemoveMachine{Request: r, Name: name, Force: force}
		})
	},
	"set": func(rt *rapid.T, w *Walk) {
		name, memory := names.Draw(rt, "name"), rapid.Int64Range(64, 66).Draw(rt, "memory")
		policy := rapid.SampledFrom([]string{"", "", "allow", "deny", "dns"}).Draw(rt, "egress")
		send(rt, w, func(r *wire.Request) proto.Message {
			return &wire.SetMachine{Request: r, Name: name, Memory: memory << 20, Egress: policy}
		})
	},
	"network": func(rt *rapid.T, w *Walk) {
		switch rapid.IntRange(0, 4).Draw(rt, "what") {
		case 0:
			w.World.LoseNetwork()
		case 1:
			w.World.Cut(names.Draw(rt, "name"), rapid.Bool().Draw(rt, "cut"))
		case 2:
			port := rapid.IntRange(1, 20).Draw(rt, "port")
			w.World.Deny(names.Draw(rt, "name"), fsm.Denial{Protocol: "tcp", To: fmt.Sprintf("1.2.3.4:%d", port)})
		default:
			w.World.BringNetwork()
		}
	},
	"clone": func(rt *rapid.T, w *Walk) {
		name, to := names.Draw(rt, "name"), names.Draw(rt, "to")
		send(rt, w, func(r *wire.Request) proto.Message {
			return &wire.CloneMachine{Request: r, Name: name, NewName: to}
		})
	},
	"rename": func(rt *rapid.T, w *Walk) {
		name, to := names.Draw(rt, "name"), names.Draw(rt, "to")
		send(rt, w, func(r *wire.Request) proto.Message {
			return &wire.RenameMachine{Request: r, Name: name, NewName: to}
		})
	},
	"pause": func(rt *rapid.T, w *Walk) {
		name, still := names.Draw(rt, "name"), rapid.Bool().Draw(rt, "still")
		send(rt, w, func(r *wire.Request) proto.Message {
			if still {
				return &wire.PauseMachine{Request: r, Name: name}
			}
			return &wire.ResumeMachine{Request: r, Name: name}
		})
	},
	"suspend": func(rt *rapid.T, w *Walk) {
		name, timeout := names.Draw(rt, "name"), int64(spans.Draw(rt, "timeout"))
		send(rt, w, func(r *wire.Request) proto.Message {
			return &wire.SuspendMachine{Request: r, Name: name, TimeoutNanos: timeout}
		})
	},
	"again": func(rt *rapid.T, w *Walk) {
		if len(w.asks) > 0 {
			w.Again(rapid.IntRange(0, len(w.asks)-1).Draw(rt, "which"))
		}
	},
	"pass":   pass,
	"pass2":  pass,
	"settle": func(_ *rapid.T, w *Walk) { w.settle(nil) },
	"happen": func(rt *rapid.T, w *Walk) {
		whats := []string{"poweroff", "panic", "crash", "killed", "mute", "unmute", "hang", "unhang", "reboot", "pause", "resume"}
		w.World.Happen(names.Draw(rt, "name"), rapid.SampledFrom(whats).Draw(rt, "what"))
	},
	"script": func(rt *rapid.T, w *Walk) {
		w.World.Script(names.Draw(rt, "name"), Script{
			Launch: rapid.SampledFrom([]string{"", "", "fails", "leaves", "odd-taken"}).Draw(rt, "launch"),
			Boot:   rapid.SampledFrom([]string{"", "", "hangs", "hangs-once"}).Draw(rt, "boot"),
			Stop:   rapid.SampledFrom([]string{"", "ignored"}).Draw(rt, "stop"),
			Pause:  rapid.SampledFrom([]string{"", "", "", "never"}).Draw(rt, "pause"),
			Save:   rapid.SampledFrom([]string{"", "", "", "never", "hangs", "lingers"}).Draw(rt, "save"),
		})
	},
	"tick": func(rt *rapid.T, w *Walk) { w.Tick(spans.Draw(rt, "time"), nil) },
	"slow": func(rt *rapid.T, w *Walk) { // time passes, and the disk and the world stand still
		w.Clock.Step(spans.Draw(rt, "time"))
	},
	"clock": func(rt *rapid.T, w *Walk) {
		jump := rapid.SampledFrom([]time.Duration{5 * time.Hour, -5 * time.Hour}).Draw(rt, "jump")
		if w.jumps++; w.jumps <= 4 { // an outcome is kept for a day of the wall clock
			w.Clock.Set(jump)
		}
	},
	"full": func(rt *rapid.T, w *Walk) { w.Full.Store(rapid.Bool().Draw(rt, "full")) },
	"crash": func(rt *rapid.T, w *Walk) {
		a := Aftermath{
			Unsynced: rapid.SampledFrom([]int{0, 50, 100}).Draw(rt, "unsynced"), Seed: rapid.Uint64().Draw(rt, "seed"),
			Reboot: rapid.IntRange(0, 3).Draw(rt, "reboot") == 3, Machine: names.Draw(rt, "name"),
			What: rapid.SampledFrom([]string{"", "", "", "killed", "poweroff", "panic", "mute", "other", "other-mute"}).Draw(rt, "what"),
		}
		if err := w.Die(a); err != nil {
			rt.Fatal(err)
		}
	},
}

func send(rt *rapid.T, w *Walk, make func(*wire.Request) proto.Message) {
	w.Send(clients.Draw(rt, "who"), make)
	if rapid.Bool().Draw(rt, "settle") {
		w.settle(nil)
	}
}

func create(rt *rapid.T, w *Walk) {
	name := names.Draw(rt, "name")
	policy := rapid.SampledFrom([]string{"no", "on-failure", "always"}).Draw(rt, "restart")
	spec := &wire.Spec{Cpus: 1, Memory: 64 << 20, Backend: "sim", Restart: policy}
	if rapid.Bool().Draw(rt, "network") {
		spec.Backend, spec.Network = "", "nat"
	}
	send(rt, w, func(r *wire.Request) proto.Message { return &wire.CreateMachine{Request: r, Name: name, Spec: spec} })
}

func start(rt *rapid.T, w *Walk) {
	name, timeout := names.Draw(rt, "name"), int64(spans.Draw(rt, "timeout"))
	fresh := rapid.IntRange(0, 3).Draw(rt, "fresh") == 3
	send(rt, w, func(r *wire.Request) proto.Message {
		return &wire.StartMachine{Request: r, Name: name, TimeoutNanos: timeout, Fresh: fresh}
	})
}

func pass(rt *rapid.T, w *Walk) {
	for range rapid.IntRange(1, 12).Draw(rt, "times") {
		if !w.PassOne(func(n int) int { return rapid.IntRange(0, n-1).Draw(rt, "which") }) {
			return
		}
	}
}
