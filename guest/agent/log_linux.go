package agent

import (
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// maxEarly is how much of the log is kept until its device is there.
const maxEarly = 64 << 10

// lateLog keeps what is logged until its device's module is loaded.
type lateLog struct {
	mu    sync.Mutex
	early []byte
	to    *os.File
}

// Write never fails: there is nobody to tell.
func (l *lateLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.to != nil {
		l.to.Write(b) //nolint:errcheck // see above
	} else if len(l.early)+len(b) <= maxEarly {
		l.early = append(l.early, b...)
	}
	return len(b), nil
}

// open finds the device: the one that was asked for, the virtio console, the
// second serial line, the kernel's log, or last the console.
func (l *lateLog) open(asked string) {
	to := os.Stderr
	for _, name := range []string{asked, "hvc0", "ttyS1", "kmsg"} {
		if name == "" {
			continue
		}
		f, err := os.OpenFile("/dev/"+name, os.O_WRONLY|unix.O_NOCTTY, 0)
		if err != nil {
			continue
		}
		if name == "ttyS1" && !isTerminal(f) {
			f.Close()
			continue
		}
		to = f
		break
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.to = to
	to.Write(l.early) //nolint:errcheck // as in Write
	l.early = nil
}

// isTerminal tells a serial line from one that has a name only: that one
// answers with an I/O error.
func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
