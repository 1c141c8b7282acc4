package hosts

import (
	"context"
	"errors"
	"fmt"

	"github.com/arcboxlabs/arcbox-engine/actors"
	"github.com/arcboxlabs/arcbox-engine/hv"
	"github.com/arcboxlabs/arcbox-engine/hv/vmhost/api"
	"github.com/arcboxlabs/arcbox-engine/hv/vmhost/client"
)

// reported is the last event of a launch that was reported.
type reported struct {
	launch string
	seq    uint64
}

// errOther is a VM host that is not the launch's.
var errOther = errors.New("another launch answers")

// Watch implements actors.Hosts.
func (w *World) Watch(ctx context.Context, ref actors.Ref, launch string, each func(actors.VMEvent, string)) error {
	h := client.Connect(w.place(ref))
	hello, err := h.Hello(ctx)
	if err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	if hello.Launch != launch {
		return fmt.Errorf("watch: %w", errOther)
	}
	each(actors.VMAnswered, "")
	after, known := w.lastReported(ref, launch)
	if !known {
		after = hello.Events // what came before was another engine's to record
	}
	err = h.Wait(ctx, after, func(e api.Event) {
		w.report(ref, launch, e.Seq)
		if e.Kind != hv.EventExit {
			each(actors.VMEvent(e.Kind), e.Why)
		}
	})
	if err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	w.forget(ref)
	return nil
}

func (w *World) lastReported(ref actors.Ref, launch string) (uint64, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.seen[ref.ID]
	return r.seq, r.launch == launch
}

func (w *World) report(ref actors.Ref, launch string, seq uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen[ref.ID] = reported{launch, seq}
}

func (w *World) forget(ref actors.Ref) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.seen, ref.ID)
}
