package actorstest

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

// TestKillEndsWithTheLock: nobody is to be killed any more as soon as the engine itself
// has the machine's lock, also where its actor still waits for the disk and has not
// heard of that.
func TestKillEndsWithTheLock(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, err := NewWalk()
		if err != nil {
			t.Fatal(err)
		}
		w.Send("uid:0", func(r *wire.Request) proto.Message {
			return &wire.CreateMachine{Request: r, Name: "a", Spec: &wire.Spec{Cpus: 1, Memory: 64 << 20, Backend: "sim"}}
		})
		w.settle(nil)
		w.Send("uid:0", func(r *wire.Request) proto.Message { return &wire.StartMachine{Request: r, Name: "a"} })
		w.settle(nil)
		if err := w.Die(Aftermath{Machine: "a", What: "other"}); err != nil {
			t.Fatal(err)
		}
		w.settle(nil)
		stop := func() {
			w.Send("uid:0", func(r *wire.Request) proto.Message { return &wire.StopMachine{Request: r, Name: "a"} })
		}
		stop()
		for len(w.World.Lives()) > 0 && w.PassOne(func(int) int { return 0 }) {
		}
		stop() // its record waits for the disk
		w.through("a killed")
		w.Clock.Step(time.Second)
		w.through("a look")       // its lock is the engine's
		w.Clock.Step(time.Second) // it would be killed once more
		w.through("a kill")
		w.settle(nil)
		if err := w.Judge(); err != nil {
			t.Error(err)
		}
		if broken := w.World.Broken(); len(broken) > 0 {
			t.Error(broken)
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
}

// through lets one thing happen, if it is held up.
func (w *Walk) through(what string) {
	synctestWait()
	for _, g := range w.World.Gates.Held() {
		if strings.HasPrefix(g.What, what) {
			w.World.Gates.Pass(g)
			synctestWait()
			return
		}
	}
}
