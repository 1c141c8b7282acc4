package hosts

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/arcboxlabs/arcbox-engine/actors"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/guest/disk"
	"github.com/arcboxlabs/arcbox-engine/guest/files"
	"github.com/arcboxlabs/arcbox-engine/guest/tree"
	guestwire "github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// Bounds of a disk on its way.
const (
	moveIdle   = 10 * time.Minute // for which neither side has to say anything
	stageBytes = 16               // of a stage's name
	spaceLeft  = 512 << 20        // that stays free on the disk, as beside a pull
	spaceStep  = 32 << 20         // bytes between two looks
	newDisk    = ".new-disk"      // marks a directory whose machine no record knows yet
)

// Send implements actors.Disks.
func (w *World) Send(ctx context.Context, ref actors.Ref, to net.Conn) error {
	path := filepath.Join(w.place(ref).Dir, disk.FileName)
	if err := disk.Check(path); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = to.SetDeadline(time.Unix(1, 0)) })() // unblocks
	sink := tree.Into(to)
	err := tree.Send(ctx, path, func(p *guestwire.CopyPart) error {
		if err := patient(ctx, to.SetWriteDeadline); err != nil {
			return err
		}
		return sink(p)
	}, &tree.Stats{})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// Receive implements actors.Disks.
func (w *World) Receive(ctx context.Context, from net.Conn) (string, error) {
	stage := newStage()
	dir := w.stage(stage)
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		defer context.AfterFunc(ctx, func() { _ = from.SetDeadline(time.Unix(1, 0)) })()
		err = receive(ctx, filepath.Join(dir, disk.FileName), from)
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		w.Drop(stage)
		return "", err
	}
	return stage, nil
}

func newStage() string {
	name := make([]byte, stageBytes)
	_, _ = rand.Read(name) // it never fails
	return hex.EncodeToString(name)
}

func (w *World) stage(name string) string { return filepath.Join(w.Stages, name) }

// patient gives the other side its time for one more step. Where ctx ended just
// before, the deadline that said so is overwritten: therefore it is asked behind that.
func patient(ctx context.Context, limit func(time.Time) error) error {
	return errors.Join(limit(time.Now().Add(moveIdle)), context.Cause(ctx))
}

// receive writes a disk, synced. Two machines' disks never have one identity.
func receive(ctx context.Context, path string, from net.Conn) error {
	next := tree.From(from)
	unseen := int64(spaceStep) // bytes since the last look at the space that is left
	err := tree.Receive(tree.Target{Path: path}, func() (*guestwire.CopyPart, error) {
		if err := patient(ctx, from.SetReadDeadline); err != nil {
			return nil, err
		}
		p, err := next()
		if err != nil {
			return nil, err
		}
		if unseen += int64(len(p.GetData().GetData())); unseen >= spaceStep {
			unseen = 0
			if err := roomFor(filepath.Dir(path)); err != nil {
				return nil, err
			}
		}
		return p, checkPart(p)
	}, &tree.Stats{})
	if err != nil {
		return err
	}
	return errors.Join(disk.Adopt(path, uuid.New()), files.SyncDir(filepath.Dir(path)))
}

// checkPart refuses what is no part of a disk.
func checkPart(p *guestwire.CopyPart) error {
	size := max(p.GetEntry().GetSize(), p.GetData().GetOffset(), p.GetEnd().GetSize())
	if e := p.GetEntry(); size > disk.MaxSize || e != nil && e.GetKind() != guestwire.CopyEntry_KIND_FILE {
		return fmt.Errorf("what came is no disk of at most %d bytes", int64(disk.MaxSize))
	}
	return nil
}

// CopyDisk copies a machine's disk as nobody's: see actors.Options.
func (w *World) CopyDisk(ctx context.Context, ref actors.Ref, said func(done, all int64)) (string, error) {
	stage := newStage()
	dir := w.stage(stage)
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		err = disk.Copy(ctx, filepath.Join(w.place(ref).Dir, disk.FileName), filepath.Join(dir, disk.FileName), uuid.New(), func(done, all int64) error {
			said(done, all)
			return roomFor(dir)
		})
	}
	if err != nil {
		w.Drop(stage)
	}
	if errors.Is(err, unix.ENOSPC) {
		err = &actors.Refusal{Code: wire.Code_CODE_LACKING, Hint: "df -h " + w.Machines, Message: fmt.Sprintf("machine %q can't be cloned: %v", ref.Name, err)}
	}
	return stage, err
}

// roomFor refuses to go on where little room is left.
func roomFor(dir string) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fmt.Errorf("free space of %s: %w", dir, err)
	}
	if free := st.Bavail * uint64(st.Bsize); free < spaceLeft { //nolint:gosec // a block's size is positive; its type differs between systems
		return fmt.Errorf("%w: %d MiB are free at %s, %d have to stay free", unix.ENOSPC, free>>20, dir, spaceLeft>>20)
	}
	return nil
}

// Drop implements actors.Disks.
func (w *World) Drop(stage string) {
	if err := os.RemoveAll(w.stage(stage)); err != nil {
		w.Logger.Warn("drop a disk that came", "stage", stage, "err", err) // swept by the next engine
	}
}

// SweepStages removes the disks that came to an engine which was killed. The one
// that calls it is the only engine.
func (w *World) SweepStages() error {
	if err := os.RemoveAll(w.Stages); err != nil {
		return fmt.Errorf("sweep disks that came: %w", err)
	}
	return nil
}

// Adopt implements actors.Disks.
func (w *World) Adopt(_ context.Context, ref actors.Ref, stage string, size int64) error {
	if raw, err := hex.DecodeString(stage); err != nil || len(raw) != stageBytes {
		return gone(stage)
	}
	from, dir := filepath.Join(w.stage(stage), disk.FileName), w.place(ref).Dir
	use, err := disk.Used(from)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return gone(stage)
	case err != nil:
		return fmt.Errorf("adopt a disk: %w", err)
	case use.Size > size:
		return &actors.Refusal{Code: wire.Code_CODE_BAD_INPUT, Field: "disk", Hint: "arcbox import --help",
			Message: fmt.Sprintf("disk %d bytes: what came has %d, and would be cut off", size, use.Size)}
	}
	if err = os.MkdirAll(dir, 0o700); err == nil {
		err = files.Replace(filepath.Join(dir, newDisk), nil, 0o600)
	}
	if err == nil {
		err = os.Rename(from, filepath.Join(dir, disk.FileName))
	}
	if err = errors.Join(err, files.SyncDir(dir), files.SyncDir(w.Machines)); err != nil {
		return fmt.Errorf("adopt a disk: %w", err)
	}
	return nil
}

func gone(stage string) error {
	return &actors.Refusal{Code: wire.Code_CODE_NOT_FOUND, Field: "stage", Hint: "arcbox import --help",
		Message: fmt.Sprintf("disk %.40q: no such disk has come to this engine, or not to this run of it", stage)}
}

// Own implements actors.Disks.
func (w *World) Own(_ context.Context, ref actors.Ref) error {
	dir := w.place(ref).Dir
	err := os.Remove(filepath.Join(dir, newDisk))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(err, files.SyncDir(dir))
}
