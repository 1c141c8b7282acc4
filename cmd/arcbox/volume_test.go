package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

func TestParseVolumes(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{"src", "a:b"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("src", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	src := &wire.Share{Host: filepath.Join(dir, "src"), Guest: "/mnt"}
	writable := &wire.Share{Host: src.Host, Guest: "/mnt", Writable: true}
	for _, c := range []struct {
		texts []string
		far   bool
		want  []*wire.Share
		says  string
	}{
		{texts: []string{"src:/mnt"}, want: []*wire.Share{src}},
		{texts: []string{"./src/:/mnt/."}, want: []*wire.Share{src}},
		{texts: []string{dir + "/link:/mnt:ro"}, want: []*wire.Share{src}}, // by the name that no link stands for
		{texts: []string{"src:/mnt:rw"}, want: []*wire.Share{writable}},
		{texts: []string{"a:b:/mnt"}, want: []*wire.Share{{Host: filepath.Join(dir, "a:b"), Guest: "/mnt"}}},
		{texts: []string{"/nowhere:/mnt"}, far: true, want: []*wire.Share{{Host: "/nowhere", Guest: "/mnt"}}},
		{texts: []string{"src:mnt"}, says: "mnt is no absolute path"},
		{texts: []string{"src"}, says: volumeForm},
		{texts: []string{":/mnt"}, says: volumeForm},
		{texts: []string{"src:"}, says: volumeForm},
		{texts: []string{"nowhere:/mnt"}, says: "no such file"},
		{texts: []string{"file:/mnt"}, says: "this is none"},
		{texts: []string{"src:/mnt", "a:b:/mnt/"}, says: "/mnt of the guest has one already"},
	} {
		got, err := parseVolumes(c.texts, c.far)
		if d := cmp.Diff(c.want, got, protocmp.Transform()); d != "" {
			t.Errorf("%q: %s", c.texts, d)
		}
		if (err != nil) != (c.says != "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q: %v, want %q", c.texts, err, c.says)
		}
	}
}
