package hosts

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/google/uuid"

	"github.com/arcboxlabs/arcbox-engine/actors"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/guest/disk"
	"github.com/arcboxlabs/arcbox-engine/guest/tree"
	guestwire "github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// moving is a world with a machine's disk, and a second machine that is to get it.
func moving(t *testing.T) (w *World, from, to actors.Ref) {
	t.Helper()
	w, from, dir := keyWorld(t)
	w.Stages = filepath.Join(filepath.Dir(w.Machines), "stages")
	if err := errors.Join(os.MkdirAll(dir, 0o700), disk.Make(filepath.Join(dir, disk.FileName), 1<<40, uuid.New())); err != nil {
		t.Fatal(err)
	}
	return w, from, actors.Ref{ID: uuid.NewString(), Name: "copy", RunTag: "0123456789ab"}
}

// sent has a stage of whatever send writes.
func sent(t *testing.T, w *World, send func(net.Conn) error) (string, error) {
	t.Helper()
	a, b := net.Pipe()
	went := make(chan error, 1)
	go func() {
		err := send(a)
		went <- errors.Join(err, a.Close())
	}()
	stage, err := w.Receive(t.Context(), b)
	_ = b.Close()
	if sendErr := <-went; err == nil && sendErr != nil {
		t.Error(sendErr)
	}
	return stage, err
}

// A disk of 1 TiB goes from one machine to another, and the holes stay holes.
func TestADiskMoves(t *testing.T) {
	w, from, to := moving(t)
	stage, err := sent(t, w, func(c net.Conn) error { return errors.Join(w.Send(t.Context(), from, c), tree.End(c, nil)) })
	if err != nil {
		t.Fatal(err)
	}
	path := func(ref actors.Ref) string { return filepath.Join(w.place(ref).Dir, disk.FileName) }
	if err := w.Adopt(t.Context(), to, stage, 1<<40); err != nil {
		t.Fatal(err)
	}
	was, wasErr := disk.Used(path(from))
	is, isErr := disk.Used(path(to))
	if err := errors.Join(wasErr, isErr); err != nil || was.Size != is.Size || is.Allocated > was.Allocated {
		t.Errorf("%+v became %+v, %v", was, is, err)
	}
	if n := differing(t, path(from), path(to)); n != 2 { // its superblocks have another id
		t.Errorf("the disks differ in %d blocks", n)
	}
	if info, err := os.Stat(path(to)); err != nil || info.Mode() != 0o600 {
		t.Error(info, err)
	}
	w.Drop(stage)
	if left, err := os.ReadDir(w.Stages); err != nil || len(left) != 0 {
		t.Errorf("%v, %v", left, err)
	}
	if err := w.Adopt(t.Context(), to, stage, 1<<40); refusal(err) != wire.Code_CODE_NOT_FOUND {
		t.Errorf("a second time: %v", err)
	}
}

// A machine's disk is copied for a clone, and nothing is left where that is given up.
func TestADiskIsCopied(t *testing.T) {
	w, from, to := moving(t)
	heard := int64(0)
	stage, err := w.CopyDisk(t.Context(), from, func(done, all int64) { heard = max(heard, done) })
	if err != nil || heard == 0 {
		t.Fatal(heard, err)
	}
	if err := w.Adopt(t.Context(), to, stage, 1<<40); err != nil {
		t.Fatal(err)
	}
	use, err := disk.Used(filepath.Join(w.place(to).Dir, disk.FileName))
	if err != nil || use.Size != 1<<40 || use.Allocated > 8<<20 {
		t.Errorf("%+v, %v", use, err)
	}
	w.Drop(stage)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.CopyDisk(over, from, func(int64, int64) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
	if left, err := os.ReadDir(w.Stages); err != nil || len(left) != 0 {
		t.Errorf("%v, %v", left, err)
	}
}

// differing counts the blocks that differ of the first 109 MiB, in which everything
// of an empty disk lies.
func differing(t *testing.T, a, b string) (n int) {
	t.Helper()
	var texts [2][]byte
	for i, path := range []string{a, b} {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		texts[i], err = io.ReadAll(io.LimitReader(f, disk.MinSize))
		if err = errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	for at := 0; at < disk.MinSize; at += 4096 {
		if string(texts[0][at:at+4096]) != string(texts[1][at:at+4096]) {
			n++
		}
	}
	return n
}

func refusal(err error) wire.Code {
	if r, ok := errors.AsType[*actors.Refusal](err); ok {
		return r.Code
	}
	return wire.Code_CODE_UNSPECIFIED
}

// What was adopted for a machine that never was is forgotten, until it is owned.
func TestAdoptedIsForgotten(t *testing.T) {
	w, from, to := moving(t)
	for _, owned := range []bool{false, true} {
		stage, err := sent(t, w, func(c net.Conn) error { return errors.Join(w.Send(t.Context(), from, c), tree.End(c, nil)) })
		if err == nil {
			err = w.Adopt(t.Context(), to, stage, 1<<40)
		}
		if err == nil && owned {
			err = errors.Join(w.Own(t.Context(), to), w.Own(t.Context(), to))
		}
		if err := errors.Join(err, w.Forget(t.Context(), to)); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(w.place(to).Dir); errors.Is(err, fs.ErrNotExist) == owned {
			t.Errorf("owned %t: %v", owned, err)
		}
	}
}

// Whatever comes that is no disk, or not all of one, leaves nothing.
func TestReceiveLeavesNothing(t *testing.T) {
	w, from, to := moving(t)
	part := func(c net.Conn, ps ...*guestwire.CopyPart) error {
		sink := tree.Into(c)
		for _, p := range ps {
			if err := sink(p); err != nil {
				return err
			}
		}
		return tree.End(c, nil)
	}
	entry := &guestwire.CopyPart{Part: &guestwire.CopyPart_Entry{Entry: &guestwire.CopyEntry{Kind: guestwire.CopyEntry_KIND_FILE, Mode: 0o777}}}
	at := func(n int64) *guestwire.CopyPart {
		return &guestwire.CopyPart{Part: &guestwire.CopyPart_Data{Data: &guestwire.CopyData{Offset: n, Data: []byte("x")}}}
	}
	ends := func(n int64) *guestwire.CopyPart {
		return &guestwire.CopyPart{Part: &guestwire.CopyPart_End{End: &guestwire.CopyEnd{Size: n}}}
	}
	for name, send := range map[string]func(net.Conn) error{
		"nothing":        func(net.Conn) error { return nil },
		"a half":         func(c net.Conn) error { return w.Send(t.Context(), from, c) }, // its end is missing
		"a failure":      func(c net.Conn) error { return tree.End(c, syscall.EIO) },
		"short":          func(c net.Conn) error { return part(c, entry, ends(4096)) },
		"endless":        func(c net.Conn) error { return part(c, entry, at(disk.MaxSize+1), ends(disk.MaxSize)) },
		"too long":       func(c net.Conn) error { return part(c, entry, ends(disk.MaxSize+1)) },
		"no file system": func(c net.Conn) error { return part(c, entry, at(0), ends(disk.MinSize)) },
		"a directory": func(c net.Conn) error {
			return part(c, &guestwire.CopyPart{Part: &guestwire.CopyPart_Entry{Entry: &guestwire.CopyEntry{Kind: guestwire.CopyEntry_KIND_DIRECTORY}}}, ends(0))
		},
	} {
		if stage, err := sent(t, w, send); err == nil {
			t.Errorf("%s: %s", name, stage)
		}
		if left, err := os.ReadDir(w.Stages); err != nil || len(left) != 0 {
			t.Errorf("%s: %v, %v", name, left, err)
		}
	}
	for _, stage := range []string{"", "..", "../machines", "00", filepath.Join("..", from.ID)} {
		if err := w.Adopt(t.Context(), to, stage, 1<<40); refusal(err) != wire.Code_CODE_NOT_FOUND {
			t.Errorf("stage %q: %v", stage, err)
		}
	}
	stage, err := sent(t, w, func(c net.Conn) error { return errors.Join(w.Send(t.Context(), from, c), tree.End(c, nil)) })
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Adopt(t.Context(), to, stage, 1<<39); refusal(err) != wire.Code_CODE_BAD_INPUT {
		t.Errorf("a disk that is too long: %v", err)
	}
	if err := w.SweepStages(); err != nil {
		t.Fatal(err)
	}
	if err := w.Adopt(t.Context(), to, stage, 1<<40); refusal(err) != wire.Code_CODE_NOT_FOUND {
		t.Errorf("what was swept: %v", err)
	}
}

// An engine that ends does not wait for a client that takes nothing.
func TestSendIsEnded(t *testing.T) {
	w, from, _ := moving(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	a, b := net.Pipe() // whose other side is never read
	defer func() { _ = errors.Join(a.Close(), b.Close()) }()
	why := errors.New("the engine ends")
	went := make(chan error, 1)
	go func() { went <- w.Send(ctx, from, a) }()
	cancel(why)
	if err := <-went; !errors.Is(err, why) {
		t.Error(err)
	}
}
