package agent

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// ofRule are the bytes of a rule's field, as the kernel reads them.
func ofRule(t *testing.T, field string) []byte {
	t.Helper()
	text, err := strconv.Unquote(`"` + field + `"`)
	if err != nil {
		t.Fatal(err)
	}
	return []byte(text)
}

// The rule takes programs and libraries of x86-64, and nothing else; systemd, which
// clears all rules where an image has some, is told of it too.
func TestRosettaRule(t *testing.T) {
	dir := t.TempDir()
	kept := filepath.Join(dir, "run", "binfmt.d")
	if err := registerRosetta(dir, kept, "/run/x"); err == nil {
		t.Error("registered with no kernel")
	}
	register := filepath.Join(dir, "register")
	if err := os.WriteFile(register, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := registerRosetta(dir, kept, "/run/x"); err != nil {
		t.Fatal(err)
	}
	rule, err := os.ReadFile(register)
	if err != nil {
		t.Fatal(err)
	}
	conf, err := os.ReadFile(filepath.Join(kept, "arcbox-rosetta.conf"))
	if err != nil || !strings.Contains(string(conf), "\n"+string(rule)+"\n") {
		t.Errorf("%q, %v", conf, err)
	}
	fields := strings.Split(string(rule), ":")
	if len(fields) != 8 || fields[1] != "rosetta" || fields[2] != "M" || fields[6] != "/run/x/rosetta" || fields[7] != "CF" {
		t.Fatalf("%q", fields)
	}
	magic, mask := ofRule(t, fields[4]), ofRule(t, fields[5])
	if len(magic) != 20 || len(mask) != len(magic) {
		t.Fatalf("%d bytes, %d of the mask", len(magic), len(mask))
	}
	elf := func(class, abi, kind, machine byte) []byte {
		return append([]byte{0x7f, 'E', 'L', 'F', class, 1, 1, abi}, 0, 0, 0, 0, 0, 0, 0, 0, kind, 0, machine, 0)
	}
	for name, c := range map[string]struct {
		head []byte
		want bool
	}{
		"a program":             {elf(2, 0, 2, 62), true},
		"one that can be moved": {elf(2, 0, 3, 62), true},
		"of GNU's ABI":          {elf(2, 3, 2, 62), true},
		"of arm64":              {elf(2, 0, 2, 183), false},
		"of 32 bits":            {elf(1, 0, 2, 3), false},
		"an object":             {elf(2, 0, 1, 62), false},
		"a script":              {[]byte("#!/bin/sh\n##########"), false},
	} {
		masked := bytes.Clone(c.head)
		for i := range masked {
			masked[i] &= mask[i]
		}
		want := bytes.Clone(magic)
		for i := range want {
			want[i] &= mask[i]
		}
		if got := bytes.Equal(masked, want); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
