package boot

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
)

// Limits of a kernel image: Debian's cloud kernel is 14 MB and unpacks to 53,
// Ubuntu's generic one 15 and 65.
const (
	maxKernelImage = 256 << 20
	maxVmlinux     = 512 << 20
)

// errNoVmlinux says why an image stays as it is.
var errNoVmlinux = errors.New("no ELF kernel to be had")

// setupHeader is what the x86 boot protocol's header says of the payload.
type setupHeader struct {
	version       uint16
	payloadOffset int64 // in the file
	payloadLength int64
}

// parseSetupHeader reads the header of a bzImage (boot protocol 2.08 or later,
// where the payload's place was added) and checks it against the image's size.
func parseSetupHeader(image []byte) (setupHeader, error) {
	const headerEnd = 0x250
	if len(image) < headerEnd {
		return setupHeader{}, fmt.Errorf("kernel image: %d bytes, a bzImage has more than %d: %w", len(image), headerEnd, errNoVmlinux)
	}
	if binary.LittleEndian.Uint16(image[0x1fe:]) != 0xaa55 || string(image[0x202:0x206]) != "HdrS" {
		return setupHeader{}, fmt.Errorf("kernel image: not a bzImage: %w", errNoVmlinux)
	}
	h := setupHeader{version: binary.LittleEndian.Uint16(image[0x206:])}
	if h.version < 0x208 {
		return setupHeader{}, fmt.Errorf("kernel image: boot protocol %#x, 0x208 or later is needed: %w", h.version, errNoVmlinux)
	}
	sectors := int64(image[0x1f1])
	if sectors == 0 {
		sectors = 4 // what the protocol says that 0 means
	}
	h.payloadOffset = (sectors+1)*512 + int64(binary.LittleEndian.Uint32(image[0x248:]))
	h.payloadLength = int64(binary.LittleEndian.Uint32(image[0x24c:]))
	if h.payloadLength < 8 || h.payloadOffset+h.payloadLength > int64(len(image)) {
		return setupHeader{}, fmt.Errorf("kernel image: payload of %d bytes at %d in an image of %d: %w",
			h.payloadLength, h.payloadOffset, len(image), errNoVmlinux)
	}
	return h, nil
}

// extractVmlinux unpacks the ELF kernel from a bzImage. Its errors wrap
// errNoVmlinux where the image is better used as it is.
func extractVmlinux(image []byte) ([]byte, error) {
	h, err := parseSetupHeader(image)
	if err != nil {
		return nil, err
	}
	payload := image[h.payloadOffset : h.payloadOffset+h.payloadLength]
	// Whatever the compression, the payload's last four bytes are the unpacked
	// size: gzip has it there anyway, the kernel's build appends it otherwise.
	size := int64(binary.LittleEndian.Uint32(payload[len(payload)-4:]))
	if size == 0 || size > maxVmlinux {
		return nil, fmt.Errorf("kernel image: payload unpacks to %d bytes, 1 to %d is allowed: %w", size, int64(maxVmlinux), errNoVmlinux)
	}
	if sniff(payload) != gzipped {
		payload = payload[:len(payload)-4]
	}
	vmlinux, err := decompressExactly(payload, size)
	if err != nil {
		return nil, fmt.Errorf("kernel image: payload: %w: %w", err, errNoVmlinux)
	}
	if err := checkPVH(vmlinux); err != nil {
		return nil, fmt.Errorf("kernel image: %w: %w", err, errNoVmlinux)
	}
	return vmlinux, nil
}

// checkPVH looks for the note that names the PVH entry point, without which
// QEMU refuses an ELF kernel.
func checkPVH(vmlinux []byte) error {
	f, err := elf.NewFile(bytes.NewReader(vmlinux))
	if err != nil {
		return fmt.Errorf("vmlinux: %w", err)
	}
	for _, p := range f.Progs {
		if p.Type != elf.PT_NOTE || p.Off > uint64(len(vmlinux)) || p.Filesz > uint64(len(vmlinux))-p.Off {
			continue
		}
		if hasPVHNote(vmlinux[p.Off:p.Off+p.Filesz], f.ByteOrder) {
			return nil
		}
	}
	return errors.New("vmlinux: no PVH entry note")
}

// hasPVHNote walks ELF notes: name size, descriptor size, type, then name and
// descriptor, each padded to 4 bytes.
func hasPVHNote(notes []byte, order binary.ByteOrder) bool {
	const physEntry = 18 // XEN_ELFNOTE_PHYS32_ENTRY
	for len(notes) >= 12 {
		nameSize, descSize := uint64(order.Uint32(notes)), uint64(order.Uint32(notes[4:]))
		kind := order.Uint32(notes[8:])
		name := notes[12:]
		next := align4(nameSize) + align4(descSize)
		if next > uint64(len(name)) {
			return false
		}
		if kind == physEntry && nameSize == 4 && string(name[:4]) == "Xen\x00" {
			return true
		}
		notes = name[next:]
	}
	return false
}

func align4(n uint64) uint64 { return (n + 3) &^ 3 }
