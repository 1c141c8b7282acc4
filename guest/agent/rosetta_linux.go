package agent

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	formats    = "/proc/sys/fs/binfmt_misc" // where the kernel is told who runs a kind of program
	formatDirs = "/run/binfmt.d"            // from where systemd tells it again, when it has cleared all
)

// Programs of x86-64 begin so; a byte of the mask is what of it counts. The type
// may be a program's or a library's, and the ABI any.
const (
	amd64Magic = `\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x3e\x00`
	amd64Mask  = `\xff\xff\xff\xff\xff\xfe\xfe\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff`
)

// rosettaRule has the kernel run them with Rosetta: opened now (F), so that a
// container needs no mount of it, and with the rights of the program itself (C).
func rosettaRule(on string) string {
	return fmt.Sprintf(":rosetta:M::%s:%s:%s:CF", amd64Magic, amd64Mask, filepath.Join(on, "rosetta"))
}

// useRosetta tells the kernel of a Rosetta that is mounted.
func useRosetta(on string) error {
	err := unix.Mount("binfmt_misc", formats, "binfmt_misc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	switch {
	case errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENOENT):
		return errors.New("the guest's kernel has no binfmt_misc")
	case err != nil && !errors.Is(err, unix.EBUSY): // it is mounted already
		return fmt.Errorf("mount binfmt_misc: %w", err)
	}
	return registerRosetta(formats, formatDirs, on)
}

// registerRosetta is what is left to do then. A rule of that name is ours.
func registerRosetta(formats, kept, on string) error {
	rule := rosettaRule(on)
	f, err := os.OpenFile(filepath.Join(formats, "register"), os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(rule)
		err = errors.Join(err, f.Close())
	}
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("register rosetta: %w", err)
	}
	if err := os.MkdirAll(kept, 0o755); err != nil {
		return fmt.Errorf("keep rosetta registered: %w", err)
	}
	text := "# by arcbox-agent\n" + strings.TrimSpace(rule) + "\n"
	if err := os.WriteFile(filepath.Join(kept, "arcbox-rosetta.conf"), []byte(text), 0o644); err != nil {
		return fmt.Errorf("keep rosetta registered: %w", err)
	}
	return nil
}
