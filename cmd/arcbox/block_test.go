package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

func TestParseBlocks(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for _, name := range []string{"a,b.img", "c:ro"} {
		if err := os.WriteFile(name, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("a,b.img", "link"); err != nil {
		t.Fatal(err)
	}
	got, err := parseBlocks([]string{"./a,b.img", "c:ro:ro", "link:rw"}, false)
	if err != nil {
		t.Fatal(err)
	}
	want := []*wire.Block{{Path: filepath.Join(dir, "a,b.img")}, {Path: filepath.Join(dir, "c:ro"), ReadOnly: true}, {Path: filepath.Join(dir, "link")}}
	if d := cmp.Diff(want, got, protocmp.Transform()); d != "" {
		t.Error(d)
	}
}
