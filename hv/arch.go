package hv

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
)

// Arch names a guest's architecture, as Go does.
type Arch string

// The architectures.
const (
	ArchAMD64 Arch = "amd64"
	ArchARM64 Arch = "arm64"
)

// Archs are all that a guest may have.
var Archs = []Arch{ArchAMD64, ArchARM64}

// HostArch is this host's, and with it that of guests that name none.
const HostArch = Arch(runtime.GOARCH)

// QEMU is the program that runs guests of the architecture.
func (a Arch) QEMU() string {
	if a == ArchARM64 {
		return "qemu-system-aarch64"
	}
	return "qemu-system-x86_64"
}

// QEMUPackage is what Debian and Ubuntu call the package that has it.
func (a Arch) QEMUPackage() string {
	if a == ArchARM64 {
		return "qemu-system-arm"
	}
	return "qemu-system-x86"
}

// Architecture is that of the guest: a spec that names none is older than the
// choice.
func (s Spec) Architecture() Arch {
	if s.Arch == "" {
		return ArchAMD64
	}
	return s.Arch
}

func (s Spec) validateArch() error {
	switch {
	case s.Arch == "":
		return nil
	case s.Version < SpecVersionArch:
		return fmt.Errorf("hv: spec version %d with an architecture: version %d says what that is", s.Version, SpecVersionArch)
	case !slices.Contains(Archs, s.Arch):
		return fmt.Errorf("hv: spec architecture %q: %s", s.Arch, ArchNames(" or "))
	case s.Arch == ArchARM64 && s.Board != "" && s.Board != BoardVirt:
		return fmt.Errorf("hv: spec board %q: an %s guest has a %s", s.Board, s.Arch, BoardVirt)
	case s.Arch == ArchAMD64 && s.Board == BoardVirt:
		return fmt.Errorf("hv: spec board %q: an %s guest has a %s or a %s", s.Board, s.Arch, BoardQ35, BoardMicroVM)
	}
	return nil
}

// ArchNames lists the architectures for people.
func ArchNames(between string) string {
	var names []string
	for _, a := range Archs {
		names = append(names, string(a))
	}
	return strings.Join(names, between)
}
