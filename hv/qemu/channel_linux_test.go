package qemu

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	kernelvsock "github.com/mdlayher/vsock"

	"github.com/arcboxlabs/arcbox-engine/hv"
	"github.com/arcboxlabs/arcbox-engine/hv/vsock"
)

// A host without the device is told what gives it, or what needs none; something
// else under that name is no device.
func TestNoVhost(t *testing.T) {
	dir := t.TempDir()
	other := filepath.Join(dir, "file")
	if err := os.WriteFile(other, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string][]string{
		filepath.Join(dir, "none"): {"modprobe vhost_vsock", "--vsock user"},
		other:                      {"CID 7", syscall.ENOTTY.Error()},
	} {
		f, err := openVhost(path, 7)
		if err == nil || f != nil {
			t.Errorf("%s: %v, %v", path, f, err)
			continue
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %v, want %q in it", path, err, w)
			}
		}
		if errors.Is(err, hv.ErrCIDTaken) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// A guest of the kernel's vsock that has ended is gone at once, and nobody listens
// for one guest alone.
func TestKernelChannelEnds(t *testing.T) {
	k := newKernelChannel(7, slog.New(slog.DiscardHandler))
	if l, err := k.Listen(5000); !errors.Is(err, hv.ErrUnsupported) {
		t.Errorf("listen: %v, %v", l, err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	late := errors.New("late")
	cancel(late)
	if c, err := k.Dial(ctx, 1024); !errors.Is(err, late) {
		t.Errorf("dial, too late: %v, %v", c, err)
	}
	if err := k.Close(); err != nil {
		t.Error(err)
	}
	if c, err := k.Dial(t.Context(), 1024); !errors.Is(err, hv.ErrGone) || !strings.Contains(err.Error(), "7:1024") {
		t.Errorf("dial of a guest that is gone: %v, %v", c, err)
	}
}

// Addresses are as those of our own device: others read them.
func TestKernelAddresses(t *testing.T) {
	if got := ourAddr(&kernelvsock.Addr{ContextID: 7, Port: 1024}); got != (vsock.Addr{CID: 7, Port: 1024}) {
		t.Errorf("%v", got)
	}
}
