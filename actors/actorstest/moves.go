package actorstest

import (
	"context"
	"errors"
	"net"

	"github.com/arcboxlabs/arcbox-engine/actors"
)

// Came is the stage of the disk that every machine gets which comes with one.
const Came = "came"

var errFull = errors.New("the disk is full")

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

// CopyDisk copies a machine's disk. What came of it is the stage Came.
func (w *World) CopyDisk(ctx context.Context, ref actors.Ref, said func(done, all int64)) (string, error) {
	said(1<<20, 4<<20)
	if err := w.Gates.Wait(ctx, ref.Name+" copy"); err != nil {
		return "", err
	}
	w.mu.Lock()
	p := w.at(ref)
	if p.lock == nil || p.vm != nil {
		w.breach("%s: its disk is copied without its lock", ref.Name)
	}
	if p.disk == "" {
		w.breach("%s: a disk is copied that is not there", ref.Name)
	}
	full := w.scripts[ref.Name].Copy == "full"
	w.mu.Unlock()
	if full {
		return "", errFull
	}
	if err := w.Gates.Wait(ctx, ref.Name+" copied"); err != nil {
		return "", err
	}
	return Came, nil
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

// Send implements actors.Disks. What it was told to end takes a moment to end.
func (w *World) Send(ctx context.Context, ref actors.Ref, _ net.Conn) error {
	err := w.Gates.Wait(ctx, ref.Name+" send")
	w.mu.Lock()
	if p := w.at(ref); p.lock == nil || p.vm != nil {
		w.breach("%s: its disk is read without its lock", ref.Name)
	}
	w.mu.Unlock()
	_ = w.Gates.Wait(context.WithoutCancel(ctx), ref.Name+" sent")
	return err
}

// Receive implements actors.Disks.
func (w *World) Receive(context.Context, net.Conn) (string, error) { return "", errGone }
