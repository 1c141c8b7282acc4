package agent

import (
	"os"
	"path/filepath"
	"testing"
)

// TestSpareConsoles: what is masked is masked for this boot, and once more is no fault.
func TestSpareConsoles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "systemd/system")
	for range 2 {
		if err := spareConsoles(dir); err != nil {
			t.Fatal(err)
		}
	}
	for _, unit := range []string{"serial-getty@ttyS0.service", "serial-getty@ttyAMA0.service", "serial-getty@hvc0.service", "serial-getty@hvc1.service"} {
		if to, err := os.Readlink(filepath.Join(dir, unit)); err != nil || to != "/dev/null" {
			t.Errorf("%s: %q, %v", unit, to, err)
		}
	}
}
