package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestVsockPower(t *testing.T) {
	sys := t.TempDir()
	put := func(path, text string) {
		t.Helper()
		path = filepath.Join(sys, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	refused := func(says string) {
		t.Helper()
		if path, err := vsockPower(sys); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q, %v, want an error with %q", path, err, says)
		}
	}
	refused("0 vsock devices")
	put("devices/pci0000:00/0000:00:03.0/0000:01:00.0/virtio3/status", "0xf\n")
	drivers := filepath.Join(sys, "bus/virtio/drivers/vmw_vsock_virtio_transport")
	if err := os.MkdirAll(drivers, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(sys, "devices/pci0000:00/0000:00:03.0/0000:01:00.0/virtio3"), filepath.Join(drivers, "virtio3")); err != nil {
		t.Fatal(err)
	}
	put("bus/pci/slots/7/address", "0000:02:00\n")
	refused("none of 1 slots")
	put("bus/pci/slots/0/address", "0000:01:00\n")
	want := filepath.Join(sys, "bus/pci/slots/0/power")
	if path, err := vsockPower(sys); err != nil || path != want {
		t.Errorf("%q, %v, want %q", path, err, want)
	}
}
