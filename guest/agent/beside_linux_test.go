package agent

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestUnitsOfThisBoot: login prompts are masked, halt is poweroff; once more is no fault.
func TestUnitsOfThisBoot(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "systemd/system")
	for range 2 {
		if err := errors.Join(spareConsoles(dir), haltPowersOff(dir)); err != nil {
			t.Fatal(err)
		}
	}
	for _, unit := range []string{"serial-getty@ttyS0.service", "serial-getty@ttyAMA0.service", "serial-getty@hvc0.service", "serial-getty@hvc1.service"} {
		if to, err := os.Readlink(filepath.Join(dir, unit)); err != nil || to != "/dev/null" {
			t.Errorf("%s: %q, %v", unit, to, err)
		}
	}
	if to, err := os.Readlink(filepath.Join(dir, "halt.target")); err != nil || filepath.Base(to) != "poweroff.target" {
		t.Errorf("halt is %q, %v", to, err)
	}
}
