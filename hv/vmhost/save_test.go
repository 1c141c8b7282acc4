//go:build linux

package vmhost_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/arcboxlabs/arcbox-engine/hv"
	"github.com/arcboxlabs/arcbox-engine/hv/vmhost/api"
	"github.com/arcboxlabs/arcbox-engine/hv/vmhost/client"
)

// saved awaits the end of a VM whose guest was saved.
func (w *world) saved() {
	w.t.Helper()
	w.eventually("the lock to be free", w.free)
	note, err := client.ReadNote(w.place())
	if err != nil || note == nil || note.Cause != hv.ExitSaved || note.Launch != w.spec.Launch {
		w.t.Fatalf("%+v, %v", note, err)
	}
}

// A guest that is saved ends its VM, and goes on in the one of another launch.
func TestSave(t *testing.T) {
	w := newWorld(t, "")
	h := w.launch()
	hello, err := h.Hello(w.ctx())
	if err != nil || !slices.Contains(hello.Ops, api.OpSave) || !hello.Can.Save {
		t.Errorf("%+v, %v", hello, err)
	}
	if err := h.Save(w.ctx()); err != nil {
		t.Fatal(err)
	}
	w.saved()
	path := filepath.Join(w.spec.Dir, api.SavedFile)
	if info, err := os.Lstat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("%+v, %v", info, err)
	}

	w.spec.Version, w.spec.Saved, w.spec.Launch, w.spec.CID = hv.SpecVersionSaved, path, w.spec.Launch+"-2", 4
	h = w.launch()
	c, err := h.Dial(w.ctx(), hv.AgentPort)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file of a guest that goes on: %v", err)
	}
}

// A save ends when nobody waits for it any more: the guest goes on, and can be saved.
func TestSaveOfNobody(t *testing.T) {
	w := newWorld(t, "save-takes=300ms")
	h := w.launch()
	ctx, cancel := context.WithTimeout(w.ctx(), 20*time.Millisecond)
	defer cancel()
	if err := h.Save(ctx); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, client.ErrMute) {
		t.Errorf("%v", err)
	}
	w.eventually("the guest can be saved", func() bool {
		err := h.Save(w.ctx())
		if err != nil && !strings.Contains(err.Error(), "already") {
			t.Fatal(err)
		}
		return err == nil
	})
	w.saved()
}

// A VM that can't be saved says so.
func TestSaveUnsupported(t *testing.T) {
	w := newWorld(t, "")
	w.spec.Backend = "fork"
	h := w.launch()
	if err := h.Save(w.ctx()); !errors.Is(err, hv.ErrUnsupported) {
		t.Errorf("%v", err)
	}
}

// A VM host that is asked to end saves no guest: one that is being saved goes on, and is
// asked to shut down.
func TestSaveOfTheEnding(t *testing.T) {
	w := newWorld(t, "save-takes=1h")
	h := w.launch()
	refused := make(chan error, 2)
	for range cap(refused) {
		go func() { refused <- h.Save(w.ctx()) }()
	}
	if err := <-refused; err == nil || !strings.Contains(err.Error(), "already") { // so the other is under way
		t.Fatal(err)
	}
	if err := unix.Kill(w.only("arcbox-vmhost"), unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-refused; err == nil || !strings.Contains(err.Error(), "asked to end") && !errors.Is(err, client.ErrGone) {
		t.Errorf("%v", err)
	}
	w.eventually("the lock to be free", w.free)
	if note, err := client.ReadNote(w.place()); err != nil || note == nil || note.Cause != hv.ExitPoweredOff {
		t.Errorf("%+v, %v", note, err)
	}
}
