package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestHasProgram(t *testing.T) {
	root := t.TempDir()
	if hasProgram(root, "dockerd") {
		t.Error("an empty root has dockerd")
	}
	if err := os.MkdirAll(filepath.Join(root, "usr/sbin/dockerd"), 0o755); err != nil {
		t.Fatal(err)
	}
	if hasProgram(root, "dockerd") {
		t.Error("a directory is taken for dockerd")
	}
	if err := os.Remove(filepath.Join(root, "usr/sbin/dockerd")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "usr/sbin/dockerd"), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	if !hasProgram(root, "dockerd") {
		t.Error("dockerd is not found")
	}
}

// What a machine has on its overlay already is not hidden by an empty directory.
func TestBindOwnHidesNothing(t *testing.T) {
	on, from := filepath.Join(t.TempDir(), "docker"), filepath.Join(t.TempDir(), "docker")
	if err := os.Mkdir(on, 0o711); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(on, "image"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := bindOwn(on, from); err == nil || !strings.Contains(err.Error(), "1 files are in it") {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(from); err == nil {
		t.Error("a directory was made for it")
	}
}
