package vz

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/arcboxlabs/arcbox-engine/hv"
)

// kernelHead is how much of a kernel says what it is.
const kernelHead = 0x206

// checkFiles refuses a kernel or an initramfs that would only make the framework
// say that its boot loader is invalid, or a guest that never speaks.
func checkFiles(c config, arch hv.Arch) error {
	head, err := headOf(c.Kernel)
	if err == nil {
		err = kernelFits(head, arch)
	}
	if err != nil {
		return fmt.Errorf("hv/vz: kernel %q: %w", c.Kernel, err)
	}
	if c.Initrd != "" {
		if _, err := headOf(c.Initrd); err != nil {
			return fmt.Errorf("hv/vz: initrd %q: %w", c.Initrd, err)
		}
	}
	for _, d := range c.Disks {
		if _, err := headOf(d.Path); err != nil {
			return fmt.Errorf("hv/vz: disk %q: %w", d.Path, err)
		}
	}
	return nil
}

// headOf reads the beginning of a file that must have something in it.
func headOf(path string) ([]byte, error) {
	info, err := os.Stat(path) // to open some things does something
	if err == nil && (!info.Mode().IsRegular() || info.Size() == 0) {
		return nil, errors.New("a file with something in it is needed")
	}
	var f *os.File
	if err == nil {
		f, err = os.Open(path)
	}
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return nil, p.Err // the path is named already
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	head := make([]byte, kernelHead)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, err
	}
	return head[:n], nil
}

// kernelFits tells whether the framework's boot loader starts a kernel: it
// unpacks none, and an Image that is packed just never runs.
func kernelFits(head []byte, arch hv.Arch) error {
	at := func(i int, magic string) bool {
		return len(head) >= i+len(magic) && string(head[i:i+len(magic)]) == magic
	}
	switch {
	case at(0, "\x1f\x8b"):
		return errors.New("it is packed with gzip, which this boot loader does not unpack: gunzip it first")
	case at(0, "MZ") && at(4, "zimg"):
		return errors.New("it is a packed EFI image (zboot), which this boot loader does not unpack: take the Image that is in it")
	case arch == hv.ArchARM64 && at(0x38, "ARM\x64"):
		return nil
	case arch == hv.ArchARM64:
		return errors.New("it is no Image of an arm64 kernel (arch/arm64/boot/Image)")
	case at(0x202, "HdrS") && binary.LittleEndian.Uint16(head[0x1fe:]) == 0xaa55:
		return nil
	}
	return errors.New("it is no bzImage of an x86 kernel")
}
