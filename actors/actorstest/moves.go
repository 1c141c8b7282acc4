package actorstest

import (
	"context"
	"errors"
	"net"

	"github.com/arcboxlabs/arcbox-engine/actors"
)

// Came is the stage of the disk that every machine gets which comes with one.
const Came = "came"

var errNoStage = errors.New("no such disk has come")

// Adopt implements actors.Disks.
func (w *World) Adopt(ctx context.Context, ref actors.Ref, stage string, _ int64) error {
	if err := w.Gates.Wait(ctx, ref.Name+" adopt"); err != nil {
		return err
	}
	if stage != Came {
		return errNoStage
	}
	w.mu.Lock()
	p := w.at(ref)
	p.disk, p.unowned = diskUsed, true
	w.mu.Unlock()
	_ = w.Gates.Wait(context.WithoutCancel(ctx), ref.Name+" adopted")
	return nil
}

// Own implements actors.Disks.
func (w *World) Own(ctx context.Context, ref actors.Ref) error {
	if err := w.Gates.Wait(ctx, ref.Name+" own"); err != nil {
		return err
	}
	w.mu.Lock()
	if p := w.at(ref); p.unowned {
		p.unowned, p.dir = false, true
	}
	w.mu.Unlock()
	_ = w.Gates.Wait(context.WithoutCancel(ctx), ref.Name+" owned")
	return nil
}

// Drop implements actors.Disks.
func (w *World) Drop(string) {}

// Send implements actors.Disks.
func (w *World) Send(context.Context, actors.Ref, net.Conn) error { return errGone }

// Receive implements actors.Disks.
func (w *World) Receive(context.Context, net.Conn) (string, error) { return "", errGone }
