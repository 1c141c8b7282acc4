package boot

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
)

// checkStatic makes sure that a program runs in an initramfs, which holds no
// libraries: an ELF executable of the architecture, without an interpreter.
func checkStatic(program []byte, arch string) error {
	f, err := elf.NewFile(bytes.NewReader(program))
	if err != nil {
		return fmt.Errorf("not a Linux program: %w", err)
	}
	if f.Type != elf.ET_EXEC && f.Type != elf.ET_DYN {
		return fmt.Errorf("not a Linux program: ELF type %v", f.Type)
	}
	if want := elfMachines[arch]; f.Machine != want {
		return fmt.Errorf("not a program for %s, but for %v", arch, f.Machine)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return errors.New("needs shared libraries; a static one is wanted (for Go: CGO_ENABLED=0)")
		}
	}
	return nil
}
