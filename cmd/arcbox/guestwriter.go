package main

import (
	"io"
	"unicode/utf8"
)

// guestWriter keeps a guest from driving the reader's terminal. What goes into
// a file or a pipe is left as it is.
func (a *app) guestWriter(w io.Writer) io.Writer {
	if terminalWidth(w) == 0 {
		return w
	}
	return &tame{w: w}
}

// tame drops control characters (C0, DEL, C1), what turns the direction of
// writing, and escape sequences, over the borders of writes. Line ends and tabs
// stay. What is no UTF-8 becomes U+FFFD: raw C1 bytes drive some terminals.
type tame struct {
	w    io.Writer
	in   escape
	part []byte // a character whose end has not come
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
	in := append(t.part, p...)
	out := make([]byte, 0, len(in))
	for utf8.FullRune(in) {
		r, n := utf8.DecodeRune(in)
		if t.keep(r) {
			out = utf8.AppendRune(out, r)
		}
		in = in[n:]
	}
	t.part = append([]byte(nil), in...) // at most three bytes
	if _, err := t.w.Write(out); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (t *tame) keep(r rune) bool {
	const esc, bel, c1, c1End, st = 0x1b, 0x07, 0x80, 0x9f, 0x9c
	switch {
	case r == esc && t.in != str:
		t.in = started
		return false
	case r >= c1 && r <= c1End && t.in != str: // ESC and a letter in one
		t.in = behindEscape(r - c1 + '@')
		return false
	}
	switch t.in {
	case text:
		return !drives(r) || r == '\n' || r == '\r' || r == '\t'
	case started:
		t.in = behindEscape(r)
	case control:
		if r >= '@' && r <= '~' {
			t.in = text
		}
	case designed:
		t.in = text
	case str:
		switch r {
		case bel, st, '\n': // a line end too: a string cut short must not hide the rest
			t.in = text
			return r == '\n'
		case esc:
			t.in = strEnd
		}
	case strEnd:
		t.in = text
	}
	return false
}

func behindEscape(r rune) escape {
	switch {
	case r == '[':
		return control
	case r == ']' || r == 'P' || r == '^' || r == '_' || r == 'X':
		return str
	case r >= 0x20 && r <= 0x2f:
		return designed
	}
	return text
}
