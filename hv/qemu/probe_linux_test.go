package qemu

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/arcboxlabs/arcbox-engine/hv"
)

func TestProbeReadsHowQEMUEnds(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		accel hv.Accel
		note  string
	}{
		{"runs", hv.AccelKVM, "KVM: a probe ran guest code"},
		{"aborts", hv.AccelTCG, "exit status 134; its last words: error: failed to set MSR"},
		{"hangs", hv.AccelTCG, "its guest did nothing"},
		{"ends", hv.AccelTCG, "exit status 0"},
		{"missing", hv.AccelTCG, "no such file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), c.name)
			if c.name != "missing" {
				if err := os.Symlink(self, path); err != nil {
					t.Fatal(err)
				}
			}
			ctx := t.Context()
			if c.name == "hangs" {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, 100*time.Millisecond)
				defer cancel()
			}
			r := probeWith(ctx, forkHere, path, probeGuestOf(hv.ArchAMD64, "kvm"), "kvm", "host")
			if r.Accel != c.accel || !strings.Contains(r.Note, c.note) {
				t.Fatalf("result %+v, want %s, a note with %q", r, c.accel, c.note)
			}
		})
	}
}

// The fake's probe never reports success, so auto becomes TCG wherever this
// test runs, and the VM says why.
func TestAutoIsSettledAtTheStart(t *testing.T) {
	s := newStage(t, "hang")
	s.spec.Accel, s.spec.AccelCache = hv.AccelAuto, filepath.Join(s.spec.Dir, "accel")
	v := s.start(t, Options{})
	if accel, note := v.(hv.Accelerated).Accel(); accel != hv.AccelTCG || !strings.HasPrefix(note, "TCG: ") {
		t.Fatalf("accel %s, note %q", accel, note)
	}
}
