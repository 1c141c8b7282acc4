package agent

import "testing"

func TestParseTerminalModes(t *testing.T) {
	for _, test := range []struct {
		in   string
		want int
		ok   bool
	}{
		{"", 0, true},
		{"\x00", 0, true},
		{"\x35\x00\x00\x00\x01\x00", 1, true},
		{"\x35\x00\x00\x00\x01", 1, true},
		{"\x35\x00\x00\x00\x01\x03\x00\x00\x00\x08\xa0\x01", 2, true},
		{"\x35\x00\x00", 0, false},
		{"\x35\x00\x00\x00\x01\x35\x00\x00\x00\x00", 0, false},
	} {
		got, err := parseTerminalModes([]byte(test.in))
		if len(got) != test.want || (err == nil) != test.ok {
			t.Errorf("%q: %v, %v", test.in, got, err)
		}
	}
}

func FuzzTerminalModes(f *testing.F) {
	f.Add([]byte("\x35\x00\x00\x00\x01\x03\x00\x00\x00\x08\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		modes, err := parseTerminalModes(b)
		if err != nil {
			return
		}
		if len(modes) > modesKnown || 5*len(modes) > len(b) {
			t.Errorf("%d modes from %d bytes", len(modes), len(b))
		}
		for _, m := range modes {
			if m.opcode == modesEnd || m.opcode >= modesKnown {
				t.Errorf("opcode %d", m.opcode)
			}
		}
	})
}
