package buildid_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/arcboxlabs/arcbox-engine/guest/buildid"
)

// build makes a program for Linux of a text, in a directory of its own, as
// Taskfile.yml makes the agent.
func build(t *testing.T, text string) []byte {
	t.Helper()
	dir := t.TempDir()
	for name, data := range map[string]string{"go.mod": "module m\n\ngo 1.24\n", "main.go": "package main\n\nfunc main() { println(\"" + text + "\") }\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", "out", ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	program, err := os.ReadFile(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	return program
}

// The same source has the same name wherever it is built, and another has another.
func TestNameOfABuild(t *testing.T) {
	names := map[string]string{}
	for what, program := range map[string][]byte{
		"a": build(t, "a"), "a again": build(t, "a"), "b": build(t, "b"),
	} {
		name, err := buildid.Of(bytes.NewReader(program))
		if err != nil || !regexp.MustCompile(`^[0-9a-f]{12}$`).MatchString(name) {
			t.Fatalf("%s: %q, %v", what, name, err)
		}
		names[what] = name
	}
	if names["a"] != names["a again"] || names["a"] == names["b"] {
		t.Errorf("%v", names)
	}
}

func TestWhatHasNoName(t *testing.T) {
	program := build(t, "a")
	for what, data := range map[string][]byte{
		"nothing": nil, "a script": []byte("#!/bin/sh\n" + strings.Repeat("x", 100)), "cut off": program[:100],
		"another's note": bytes.ReplaceAll(program, []byte("Go\x00\x00"), []byte("No\x00\x00")),
		"32 bits":        append([]byte("\x7fELF\x01\x01"), program[6:]...),
	} {
		if name, err := buildid.Of(bytes.NewReader(data)); err == nil {
			t.Errorf("%s: %q", what, name)
		}
	}
}

// Whatever the file says of itself, reading it ends, and takes little.
func FuzzOf(f *testing.F) {
	head := append([]byte("\x7fELF\x02\x01"), make([]byte, 250)...)
	head[6], head[20] = 1, 1
	head[32], head[54], head[56] = 64, 56, 2
	head[64], head[64+8], head[64+32] = 4, 176, 40
	copy(head[176:], "\x04\x00\x00\x00\x16\x00\x00\x00\x04\x00\x00\x00Go\x00\x00a/AAAAAAAAAAAAAAAAAAAA")
	if name, err := buildid.Of(bytes.NewReader(head)); err != nil {
		f.Fatalf("%q, %v", name, err)
	}
	f.Add(head)
	f.Fuzz(func(t *testing.T, data []byte) {
		name, err := buildid.Of(bytes.NewReader(data))
		if (err == nil) != (len(name) == 12) {
			t.Errorf("%q, %v", name, err)
		}
	})
}
