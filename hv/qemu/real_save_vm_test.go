//go:build vm && linux

package qemu

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/arcboxlabs/arcbox-engine/hv"
)

// told is what a guest says of itself: its boot id and its CID.
func told(ctx context.Context, v hv.VM) (string, error) {
	c, err := dialUntil(ctx, v, 1003)
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	said, err := io.ReadAll(c)
	return string(said), err
}

func (s *stage) told(t *testing.T, v hv.VM) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	said, err := told(ctx, v)
	if err != nil {
		t.Fatalf("%v; console:\n%s", err, s.console)
	}
	return said
}

// letGo has the guest let go of its vsock device at once, as its agent would.
func letGo(ctx context.Context, v hv.VM) {
	if c, err := dialUntil(ctx, v, 1004); err == nil {
		_ = c.Close()
	}
}

// TestRealSave: a guest whose file can't be put in its place has its device again; one
// that was saved goes on in another VM, with another CID, and not from half a file. The
// second time only the host asks the guest for its device.
func TestRealSave(t *testing.T) {
	s := newGuest(t, "")
	s.spec.Version, s.spec.Board, s.spec.BoardAccel = hv.SpecVersionSaved, hv.BoardMicroVM, hv.AccelTCG
	v := s.start(t, Options{})
	before := s.told(t, v)
	if !strings.HasSuffix(before, " 7") {
		t.Fatalf("it says %q", before)
	}
	saver := v.(hv.Saver)
	go letGo(t.Context(), v)
	if err := saver.Save(t.Context(), s.spec.Dir); err == nil {
		t.Fatal("a guest is saved in the place of a directory")
	}
	if after := s.told(t, v); after != before {
		t.Fatalf("behind a failed save it says %q, not %q", after, before)
	}
	path := filepath.Join(s.spec.Dir, "saved")
	begun := time.Now()
	if err := saver.Save(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	if kinds, exit := end(t, v); exit.Cause != hv.ExitSaved || len(kinds) > 0 {
		t.Fatalf("events %v, exit %+v", kinds, exit)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	t.Logf("saved in %s: %d MiB", time.Since(begun).Round(time.Millisecond), info.Size()>>20)

	s.spec.Saved, s.spec.CID, s.spec.Launch = path, 9, "l2"
	s.cutShort(t)
	begun = time.Now()
	v = s.start(t, Options{})
	after := s.told(t, v)
	t.Logf("it answers %s after the start", time.Since(begun).Round(time.Millisecond))
	if want := strings.TrimSuffix(before, " 7") + " 9"; after != want {
		t.Fatalf("it says %q, want %q", after, want)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("the file of a guest that went on: %v", err)
	}
	if err := v.(hv.Rebooter).AllowReboot(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := v.PowerButton(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, exit := end(t, v); exit.Cause != hv.ExitPoweredOff {
		t.Fatalf("exit %+v", exit)
	}
}

// cutShort: a start from a file that is not whole is refused, says which, and leaves it.
func (s *stage) cutShort(t *testing.T) {
	t.Helper()
	whole, err := os.ReadFile(s.spec.Saved)
	if err != nil {
		t.Fatal(err)
	}
	spec := s.spec
	spec.Saved += ".cut"
	if err := os.WriteFile(spec.Saved, whole[:len(whole)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = New(Options{}).Start(t.Context(), spec, s.env)
	if err == nil || !strings.Contains(err.Error(), spec.Saved) {
		t.Fatalf("error %v", err)
	}
	t.Log(err)
	if _, err := os.Stat(spec.Saved); err != nil {
		t.Fatal(err)
	}
}
