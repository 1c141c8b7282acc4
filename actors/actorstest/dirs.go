package actorstest

import (
	"context"
	"net"
	"slices"

	"github.com/arcboxlabs/arcbox-engine/actors"
)

// Delete implements actors.Dirs.
func (w *World) Delete(ctx context.Context, ref actors.Ref, held actors.Lock) error {
	if err := w.Gates.Wait(ctx, ref.Name+" delete"); err != nil {
		return err
	}
	w.mu.Lock()
	if p := w.at(ref); p.vm != nil || p.lock == nil || held != actors.Lock(p.lock) {
		w.breach("%s: deleted without its lock", ref.Name)
	}
	delete(w.places, ref.ID)
	w.mu.Unlock()
	_ = w.Gates.Wait(context.WithoutCancel(ctx), ref.Name+" deleted")
	return nil
}

// IDs implements actors.Dirs.
func (w *World) IDs(ctx context.Context) ([]string, error) {
	if err := w.Gates.Wait(ctx, "list directories"); err != nil {
		return nil, err
	}
	return w.dirs(), nil
}

// hasDir tells whether a machine has a directory, if only for its set-up,
// or for a disk that came.
func (p *place) hasDir() bool { return p.dir || p.unowned || p.setUps.script != "" }

// dirs are the ids of the machines with a directory.
func (w *World) dirs() (ids []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, p := range w.places {
		if p.hasDir() {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// Tail implements actors.Dirs.
func (w *World) Tail(ref actors.Ref) string { return "the console of " + ref.Name }

// Log implements actors.Dirs.
func (w *World) Log(_ context.Context, ref actors.Ref, _ string, _ int64, _ bool, to net.Conn) error {
	_, err := to.Write([]byte(w.Tail(ref)))
	return err
}

// Path implements actors.Dirs.
func (w *World) Path(ref actors.Ref) (dir, run string) { return "/m/" + ref.ID, "/r/" + ref.RunTag }
