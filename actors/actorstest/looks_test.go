package actorstest

import (
	"math/rand/v2"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

// TestStrayOfUnstartedMachine: no record says that a machine was started, but
// something ran in its directory, and has ended. In whatever order the next engine
// comes to know, that is told once, and no lock of its own is taken for another
// stray.
func TestStrayOfUnstartedMachine(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		for seed := range uint64(100) {
			if err := strayOfUnstarted(rand.New(rand.NewPCG(seed, 0))); err != nil {
				t.Fatalf("order %d: %v", seed, err)
			}
		}
	})
}

func strayOfUnstarted(r *rand.Rand) error {
	w, err := NewWalk()
	if err != nil {
		return err
	}
	defer func() { _ = w.Close() }()
	w.Send("uid:0", func(r *wire.Request) proto.Message {
		return &wire.CreateMachine{Request: r, Name: "a", Spec: &wire.Spec{Cpus: 1, Memory: 64 << 20, Backend: "sim"}}
	})
	w.settle(nil)
	w.Send("uid:0", func(r *wire.Request) proto.Message { return &wire.StartMachine{Request: r, Name: "a"} })
	w.PassOne(func(int) int { return 0 }) // its directory is there
	if err := w.Die(Aftermath{Machine: "a", What: "other"}); err != nil {
		return err
	}
	w.settle(nil)
	if err := w.Die(Aftermath{Reboot: true}); err != nil {
		return err
	}
	for w.PassOne(r.IntN) {
	}
	return w.Judge()
}
