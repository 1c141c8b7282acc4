package main

import "io"

// guestWriter keeps a guest from driving the reader's terminal. What goes into
// a file or a pipe is left as it is.
func (a *app) guestWriter(w io.Writer) io.Writer {
	if terminalWidth(w) == 0 {
		return w
	}
	return &tame{w: w}
}

// tame drops control characters and escape sequences, over the borders of
// writes. Line ends and tabs stay.
type tame struct {
	w  io.Writer
	in escape
}

type escape int

const (
	text     escape = iota
	started         // behind ESC
	control         // in ESC [ …, which a byte from @ to ~ ends
	designed        // in ESC with an intermediate, which one more byte ends
	str             // in ESC ] and its like, which BEL or ESC \ ends
	strEnd          // behind the ESC in there
)

// Write implements io.Writer.
func (t *tame) Write(p []byte) (int, error) {
	out := make([]byte, 0, len(p))
	for _, b := range p {
		if t.keep(b) {
			out = append(out, b)
		}
	}
	if _, err := t.w.Write(out); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (t *tame) keep(b byte) bool {
	const esc, bel, del = 0x1b, 0x07, 0x7f
	if b == esc && t.in != str {
		t.in = started
		return false
	}
	switch t.in {
	case text:
		return b >= ' ' && b != del || b == '\n' || b == '\r' || b == '\t'
	case started:
		t.in = behindEscape(b)
	case control:
		if b >= '@' && b <= '~' {
			t.in = text
		}
	case designed:
		t.in = text
	case str:
		switch b {
		case bel, '\n': // a line end too: a string cut short must not hide the rest
			t.in = text
			return b == '\n'
		case esc:
			t.in = strEnd
		}
	case strEnd:
		t.in = text
	}
	return false
}

func behindEscape(b byte) escape {
	switch {
	case b == '[':
		return control
	case b == ']' || b == 'P' || b == '^' || b == '_' || b == 'X':
		return str
	case b >= 0x20 && b <= 0x2f:
		return designed
	}
	return text
}
