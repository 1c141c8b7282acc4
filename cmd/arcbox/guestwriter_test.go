package main

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestGuestsCantDriveTheTerminal(t *testing.T) {
	for in, want := range map[string]string{
		"plain\ttext\r\n":                        "plain\ttext\r\n",
		"a\x1b[31;1mred\x1b[0m":                  "ared",
		"a\x1b]0;title\x07b":                     "ab",
		"a\x1b]52;c;Zm9v\x1b\\b":                 "ab",
		"a\x1b(Bb\x1bcc":                         "abc",
		"a\x1bPq\x1b\\b\x00\x08\x7fc":            "abc",
		"cut \x1b]0;short\nnext":                 "cut \nnext",
		"grüße":                                  "grüße",
		"\x1b\x1b[2Jx":                           "x",
		"\x1b[" + strings.Repeat("1;", 500):      "",
		"a\u009b31mb\u0085c\u009d0;title\u009cd": "abcd",
		"a\x9b31mb\x9d0;t\x07\xff":               "a\ufffd31mb\ufffd0;t\ufffd",
		"user\u202eexe.\u2066x\u200f":            "userexe.x",
		"a\x1b]0;t\u0085\u009bb\u009cc":          "ac",
	} {
		for _, step := range []int{1, 3, len(in)} {
			var out bytes.Buffer
			w := &tame{w: &out}
			for i := 0; i < len(in); i += step {
				if _, err := io.WriteString(w, in[i:min(i+step, len(in))]); err != nil {
					t.Fatal(err)
				}
			}
			if out.String() != want {
				t.Errorf("%q by %d: %q, want %q", in, step, out.String(), want)
			}
		}
	}
}

func FuzzTame(f *testing.F) {
	f.Add([]byte("a\x1b[31mb\x1b]0;x\x07c"))
	f.Fuzz(func(t *testing.T, in []byte) {
		var out bytes.Buffer
		_, _ = (&tame{w: &out}).Write(in)
		for _, r := range out.String() {
			if drives(r) && !strings.ContainsRune("\r\n\t", r) {
				t.Errorf("%q → %q", in, out.Bytes())
			}
		}
		if !utf8.Valid(out.Bytes()) {
			t.Errorf("%q → %q", in, out.Bytes())
		}
	})
}

// Whatever a guest says of itself is JSON that a terminal does not obey, and
// that a program reads as the guest said it.
func TestJSONDrivesNoTerminal(t *testing.T) {
	hostile := "a\x1b[31m\u009b2J\x7f\u0085\u202e\u2066\u061cb\n\"<\u2028 grüße"
	for _, indent := range []string{"", "  "} {
		var out bytes.Buffer
		if err := writeJSON(&out, map[string]any{hostile: []any{hostile, json.RawMessage("\"\u009b\"")}}, indent); err != nil {
			t.Fatal(err)
		}
		for _, r := range out.String() {
			if drives(r) && r != '\n' {
				t.Errorf("%U in %q", r, out.String())
			}
		}
		var back map[string][]string
		if err := json.Unmarshal(out.Bytes(), &back); err != nil || len(back[hostile]) != 2 || back[hostile][0] != hostile || back[hostile][1] != "\u009b" {
			t.Errorf("%q became %q, %v", hostile, back, err)
		}
	}
	b := newBench(t, nil)
	if code := b.run(t, "start", "x\u009bx", "--format", "json"); code == 0 || strings.ContainsRune(b.err.String(), 0x9b) {
		t.Errorf("exit %d, %q", code, b.err.String())
	}
}
