package agent

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

func TestTakeToken(t *testing.T) {
	for size, good := range map[int]bool{0: false, wire.TokenSize: true, wire.TokenSize + 1: false} {
		path := filepath.Join(t.TempDir(), "token")
		if err := os.WriteFile(path, make([]byte, size), 0o400); err != nil {
			t.Fatal(err)
		}
		if _, err := takeToken(path); (err == nil) != good {
			t.Errorf("%d bytes: %v", size, err)
		}
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%d bytes: the token is still there", size)
		}
	}
	if _, err := takeToken(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("no token, no error")
	}
}

func TestParseMounts(t *testing.T) {
	table := `rootfs / rootfs rw 0 0
proc /proc proc rw 0 0
tmpfs /run tmpfs rw 0 0
/dev/vda /mnt/my\040disk btrfs rw 0 0
short line
`
	if diff := cmp.Diff([]string{"/run", "/mnt/my disk"}, parseMounts([]byte(table))); diff != "" {
		t.Error(diff)
	}
}

func TestIsProgram(t *testing.T) {
	for stat, want := range map[string]bool{
		"7 (sh) S 1 7 7 0 -1 4194560 1 2":       true,
		"7 (a) Z (b) S 1 7 7 0 -1 4194560 1 2":  true,
		"7 (sh) Z 1 7 7 0 -1 4194560 1 2":       false,
		"2 (kthreadd) S 0 0 0 0 -1 2129984 0 0": false,
		"7 (sh":                                 false,
		"":                                      false,
		"7 (sh) S 1 7 7 0 -1 notanumber 1 2 3 4 5 6": false,
	} {
		if isProgram(stat) != want {
			t.Errorf("%q: %v", stat, !want)
		}
	}
}

func TestReadKeys(t *testing.T) {
	var in bytes.Buffer
	for _, e := range []struct {
		kind, code uint16
		value      uint32
	}{{1, 116, 1}, {0, 0, 0}, {1, 116, 0}, {1, 30, 1}, {1, 116, 1}} {
		in.Write(make([]byte, 16))
		for _, field := range []any{e.kind, e.code, e.value} {
			if err := binary.Write(&in, binary.NativeEndian, field); err != nil {
				t.Fatal(err)
			}
		}
	}
	in.WriteString("half an event")
	pressed := 0
	readKeys(&in, func() { pressed++ })
	if pressed != 2 {
		t.Errorf("pressed %d times, want 2", pressed)
	}
}

func TestLateLog(t *testing.T) {
	l := &lateLog{}
	l.Write([]byte("early\n"))
	l.Write(bytes.Repeat([]byte{'x'}, maxEarly))
	if string(l.early) != "early\n" {
		t.Errorf("kept %d bytes", len(l.early))
	}
}

func TestInfoParsers(t *testing.T) {
	name, version := osRelease([]byte("NAME=\"Debian GNU/Linux\"\nVERSION_ID='12'\nID=debian\n"))
	if name != "Debian GNU/Linux" || version != "12" {
		t.Errorf("os %q %q", name, version)
	}
	if name, _ := osRelease(nil); name != "arcbox rescue" {
		t.Errorf("os without a file %q", name)
	}
	total, available := memInfo([]byte("MemTotal:  1024 kB\nMemFree: 1 kB\nMemAvailable: 512 kB\nMemTotal: x\n"))
	if total != 1<<20 || available != 1<<19 {
		t.Errorf("memory %d %d", total, available)
	}
	if diff := cmp.Diff([]float64{0.5, 1, 2}, floats([]byte("0.5 1 2.00 1/99 7"), 3)); diff != "" {
		t.Error(diff)
	}
	if got := floats([]byte("x"), 1); got != nil {
		t.Errorf("floats of x: %v", got)
	}
}

func TestLookUp(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	write := func(path string, mode os.FileMode) string {
		if err := os.WriteFile(path, nil, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write(filepath.Join(a, "tool"), 0o644)
	tool := write(filepath.Join(b, "tool"), 0o755)
	write(filepath.Join(a, "text"), 0o644)
	if err := os.Mkdir(filepath.Join(a, "dir"), 0o755); err != nil {
		t.Fatal(err)
	}
	path := a + ":" + b
	for _, test := range []struct{ name, want, err string }{
		{"tool", tool, ""},
		{"./any/thing", "./any/thing", ""},
		{"text", "", "text: permission denied"},
		{"dir", "", "dir: file does not exist"},
		{"none", "", "none: file does not exist"},
	} {
		got, err := lookUp(test.name, "/", path)
		if got != test.want || (err != nil) != (test.err != "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("%s: %q, %v", test.name, got, err)
		}
	}
}
