package main

import (
	"fmt"
	"math"
	"os"
	"sync"

	"golang.org/x/term"

	"github.com/arcboxlabs/arcbox-engine/guest"
)

// terminal is the one that arcbox was called from, while a program in the
// guest has it.
type terminal struct {
	in, out *os.File

	mu     sync.Mutex
	before *term.State // nil = as it was
}

// terminal finds it, or says what is none.
func (a *app) terminal() (*terminal, error) {
	t := &terminal{in: terminalFile(a.stdin), out: terminalFile(a.stdout)}
	what := "input"
	switch {
	case t.in != nil && t.out != nil:
		return t, nil
	case t.in != nil:
		what = "output"
	}
	f := badInput("tty", "-t: standard %s is no terminal", what)
	f.hint = "without -t the streams are joined as they are"
	return nil, f
}

func terminalFile(stream any) *os.File {
	if f, ok := stream.(*os.File); ok && term.IsTerminal(int(f.Fd())) { //nolint:gosec // a descriptor fits
		return f
	}
	return nil
}

// raw has every key passed on as it is, until restore.
func (t *terminal) raw() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	before, err := term.MakeRaw(int(t.in.Fd()))
	if err != nil {
		return fmt.Errorf("put the terminal into raw mode: %w", err)
	}
	t.before = before
	return nil
}

// restore puts the terminal back as it was. A second time is harmless.
func (t *terminal) restore() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.before != nil {
		_ = term.Restore(int(t.in.Fd()), t.before) // it may be gone, which is as good
		t.before = nil
	}
}

// guard, deferred in a goroutine, restores the terminal before a panic there
// ends the process.
func (t *terminal) guard() {
	if r := recover(); r != nil {
		t.restore()
		panic(r)
	}
}

// size is zero where the terminal does not know.
func (t *terminal) size() guest.TerminalSize {
	columns, rows, err := term.GetSize(int(t.out.Fd()))
	if err != nil {
		return guest.TerminalSize{}
	}
	return guest.TerminalSize{Rows: side(rows), Columns: side(columns)}
}

func side(n int) uint16 { return uint16(min(max(n, 0), math.MaxUint16)) }
