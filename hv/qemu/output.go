package qemu

import (
	"bytes"
	"io"
	"strings"
	"sync"
)

// maxText is how much of a guest's or of QEMU's own text goes into a sentence.
const maxText = 400

// drain reads src to its end and offers every byte to dst. A dst that fails is
// not asked again; src is read on, for its writer must never wait.
func drain(dst io.Writer, src io.Reader) {
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

// tail keeps the end of what is written to it.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

// maxTail bounds what a tail holds.
const maxTail = 4 << 10

// Write never fails.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	keep := p[max(0, len(p)-maxTail):]
	if over := len(t.buf) + len(keep) - maxTail; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	t.buf = append(t.buf, keep...)
	return len(p), nil
}

// lastLines joins the last lines, at most three, into one that can be printed.
func (t *tail) lastLines() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := strings.FieldsFunc(string(t.buf), func(r rune) bool { return r == '\n' || r == '\r' })
	lines = lines[max(0, len(lines)-3):]
	text := printable([]byte(strings.Join(lines, " | ")))
	return text[max(0, len(text)-maxText):]
}

// panicMark is how every Linux kernel begins its last line.
var panicMark = []byte("Kernel panic - not syncing")

// watch passes a console on and remembers the line with which the kernel
// panicked.
type watch struct {
	next io.Writer

	mu   sync.Mutex
	line []byte // the unfinished line, cut at maxText
	seen string
}

// Write never fails: a console that can't be kept is still watched.
func (w *watch) Write(p []byte) (int, error) {
	_, _ = w.next.Write(p)
	w.mu.Lock()
	defer w.mu.Unlock()
	for rest := p; len(rest) > 0; {
		line, after, ended := bytes.Cut(rest, []byte("\n"))
		w.line = append(w.line, line[:min(len(line), maxText-len(w.line))]...)
		w.look()
		if ended {
			w.line = w.line[:0]
		}
		rest = after
	}
	return len(p), nil
}

// look also takes a line that is not finished: a kernel may reset in its midst.
// The line that closes a panic's trace says nothing new.
func (w *watch) look() {
	if at := bytes.Index(w.line, panicMark); at >= 0 && !bytes.Contains(w.line[:at], []byte("[ end ")) {
		w.seen = strings.TrimSpace(printable(w.line[at:]))
	}
}

// panicLine is "" where no panic was seen.
func (w *watch) panicLine() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen
}

// printable makes text of others fit for a terminal.
func printable(p []byte) string {
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
