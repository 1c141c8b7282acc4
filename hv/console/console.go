package console

import (
	"bytes"
	"io"
	"strings"
	"sync"
)

// MaxText is how much of a guest's or of a hypervisor's own text goes into a
// sentence.
const MaxText = 400

// Drain reads src to its end and offers every byte to dst. A dst that fails is
// not asked again; src is read on, for its writer must never wait.
func Drain(dst io.Writer, src io.Reader) {
	buf := make([]byte, 16<<10)
	for {
		n, err := src.Read(buf)
		if n > 0 && dst != nil {
			if _, werr := dst.Write(buf[:n]); werr != nil {
				dst = nil
			}
		}
		if err != nil {
			return
		}
	}
}

// Tail keeps the end of what is written to it.
type Tail struct {
	mu  sync.Mutex
	buf []byte
}

// maxTail bounds what a Tail holds.
const maxTail = 4 << 10

// Write never fails.
func (t *Tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	keep := p[max(0, len(p)-maxTail):]
	if over := len(t.buf) + len(keep) - maxTail; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	t.buf = append(t.buf, keep...)
	return len(p), nil
}

// LastLines joins the last lines, at most three, into one that can be printed.
func (t *Tail) LastLines() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := strings.FieldsFunc(string(t.buf), func(r rune) bool { return r == '\n' || r == '\r' })
	lines = lines[max(0, len(lines)-3):]
	text := Printable([]byte(strings.Join(lines, " | ")))
	return text[max(0, len(text)-MaxText):]
}

// panicMark is how every Linux kernel begins its last line.
var panicMark = []byte("Kernel panic - not syncing")

// endMark closes the trace of a panic. A kernel that was told not to reset has
// stopped for ever behind it.
var endMark = []byte("---[ end Kernel panic")

// Watch passes a console on and remembers the line with which the kernel
// panicked.
type Watch struct {
	next io.Writer

	mu     sync.Mutex
	line   []byte // the unfinished line, cut at MaxText
	seen   string
	halted chan struct{} // closed when the kernel has stopped
	over   bool          // halted is closed
}

// NewWatch passes on to next, whose errors are not told.
func NewWatch(next io.Writer) *Watch { return &Watch{next: next, halted: make(chan struct{})} }

// Halted is closed when a panic has been told to its end.
func (w *Watch) Halted() <-chan struct{} { return w.halted }

// Write never fails: a console that can't be kept is still watched.
func (w *Watch) Write(p []byte) (int, error) {
	_, _ = w.next.Write(p)
	w.mu.Lock()
	defer w.mu.Unlock()
	for rest := p; len(rest) > 0; {
		line, after, ended := bytes.Cut(rest, []byte("\n"))
		w.line = append(w.line, line[:min(len(line), MaxText-len(w.line))]...)
		w.look()
		if ended {
			w.line = w.line[:0]
		}
		rest = after
	}
	return len(p), nil
}

// look also takes a line that is not finished: a kernel may reset in its midst.
// The line that closes a panic's trace says nothing new but that it is over.
func (w *Watch) look() {
	if at := bytes.Index(w.line, panicMark); at >= 0 && !bytes.Contains(w.line[:at], []byte("[ end ")) {
		w.seen = strings.TrimSpace(Printable(w.line[at:]))
	}
	if w.seen != "" && !w.over && bytes.Contains(w.line, endMark) {
		w.over = true
		close(w.halted)
	}
}

// PanicLine is "" where no panic was seen.
func (w *Watch) PanicLine() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen
}

// Printable makes text of others fit for a terminal.
func Printable(p []byte) string {
	keep := func(r rune) rune {
		switch {
		case r == '\r':
			return -1
		case r < ' ' || r > '~':
			return '?'
		}
		return r
	}
	return strings.Map(keep, string(p))
}
