package qemu

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/arcboxlabs/arcbox-engine/hv"
)

// probeGuest is a guest of a few bytes and how it is known to have run.
type probeGuest struct {
	kernel []byte
	args   []string // of QEMU
	ran    func(status int, said string) bool
}

func probeGuestOf(arch hv.Arch, accel string) probeGuest {
	if arch == hv.ArchARM64 {
		gic := "3"
		if accel == "kvm" {
			gic = "host"
		}
		return probeGuest{
			kernel: probeImage(),
			args:   []string{"-machine", "virt,acpi=off,dump-guest-core=off,gic-version=" + gic, "-serial", "stdio"},
			ran:    func(status int, said string) bool { return status == 0 && strings.Contains(said, probeMark) },
		}
	}
	return probeGuest{
		kernel: probeKernel(),
		args:   []string{"-machine", "q35,dump-guest-core=off", "-device", fmt.Sprintf("isa-debug-exit,iobase=%#x,iosize=4", probePort)},
		ran:    func(status int, _ string) bool { return status == probeStatus },
	}
}

// probeMark is what an arm64 guest says before it powers off.
const probeMark = "arcbox"

// probeImage is the guest for arm64: it writes its mark to the serial line of the
// board, letter by letter, and powers off through PSCI.
func probeImage() []byte {
	words := []uint32{0xd2a12001} // mov x1, #0x09000000
	for _, c := range []byte(probeMark) {
		words = append(words,
			0x52800000|uint32(c)<<5, // mov w0, #c
			0xb9000020,              // str w0, [x1]
		)
	}
	words = append(words,
		0x52b08000, // mov w0, #0x84000000
		0x72800100, // movk w0, #8: SYSTEM_OFF
		0xd4000002, // hvc #0
		0x14000000, // b .
	)
	var image []byte
	for _, w := range words {
		image = binary.LittleEndian.AppendUint32(image, w)
	}
	return image
}
