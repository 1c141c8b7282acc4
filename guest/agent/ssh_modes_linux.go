package agent

import "golang.org/x/sys/unix"

// What the opcodes are to Linux: characters, and bits of the four words.
var (
	modeChars = map[byte]int{
		1: unix.VINTR, 2: unix.VQUIT, 3: unix.VERASE, 4: unix.VKILL, 5: unix.VEOF, 6: unix.VEOL, 7: unix.VEOL2,
		8: unix.VSTART, 9: unix.VSTOP, 10: unix.VSUSP, 12: unix.VREPRINT, 13: unix.VWERASE, 14: unix.VLNEXT, 18: unix.VDISCARD,
	}
	modeInput = map[byte]uint32{
		30: unix.IGNPAR, 31: unix.PARMRK, 32: unix.INPCK, 33: unix.ISTRIP, 34: unix.INLCR, 35: unix.IGNCR, 36: unix.ICRNL,
		37: unix.IUCLC, 38: unix.IXON, 39: unix.IXANY, 40: unix.IXOFF, 41: unix.IMAXBEL, 42: unix.IUTF8,
	}
	modeLocal = map[byte]uint32{
		50: unix.ISIG, 51: unix.ICANON, 52: unix.XCASE, 53: unix.ECHO, 54: unix.ECHOE, 55: unix.ECHOK, 56: unix.ECHONL,
		57: unix.NOFLSH, 58: unix.TOSTOP, 59: unix.IEXTEN, 60: unix.ECHOCTL, 61: unix.ECHOKE, 62: unix.PENDIN,
	}
	modeOutput = map[byte]uint32{
		70: unix.OPOST, 71: unix.OLCUC, 72: unix.ONLCR, 73: unix.OCRNL, 74: unix.ONOCR, 75: unix.ONLRET,
	}
)

// noChar is a character that the client's terminal does not have.
const noChar = 255

// applyModes changes a terminal's settings to the client's. Sizes of bytes,
// parity and speeds are of a line that is not there.
func applyModes(t *unix.Termios, modes []terminalMode) {
	for _, m := range modes {
		if at, ok := modeChars[m.opcode]; ok {
			t.Cc[at] = byte(m.value)
			if m.value == noChar {
				t.Cc[at] = 0
			}
		}
		setBit(&t.Iflag, modeInput[m.opcode], m.value)
		setBit(&t.Lflag, modeLocal[m.opcode], m.value)
		setBit(&t.Oflag, modeOutput[m.opcode], m.value)
	}
}

func setBit(word *uint32, bit, value uint32) {
	if value != 0 {
		*word |= bit
	} else {
		*word &^= bit
	}
}

// setModes makes a new terminal's settings the client's, as well as it can.
func (s streams) setModes(modes []terminalMode) {
	_ = s.control(func(fd int) error {
		t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
		if err != nil {
			return err
		}
		applyModes(t, modes)
		return unix.IoctlSetTermios(fd, unix.TCSETS, t)
	})
}
