package hosts

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/arcboxlabs/arcbox-engine/actors"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/fsm"
	"github.com/arcboxlabs/arcbox-engine/hv"
)

func TestBlocks(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	w := New(Options{Machines: at("home/machines")})
	if err := os.MkdirAll(w.Machines, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"disk": "x", "empty": "", "home/own": "x"} {
		if err := os.WriteFile(at(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Symlink("home/own", at("link")), unix.Mkfifo(at("fifo"), 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path string
		code wire.Code // 0 = it is taken
		why  string
	}{
		{at("disk"), 0, ""},
		{at("none"), wire.Code_CODE_BAD_INPUT, "no such file"},
		{at("empty"), wire.Code_CODE_BAD_INPUT, "it is empty"},
		{at("fifo"), wire.Code_CODE_BAD_INPUT, "neither a file nor a block device"},
		{"/dev/zero", wire.Code_CODE_BAD_INPUT, "neither a file nor a block device"},
		{at("link"), wire.Code_CODE_UNSAFE, "the engine's own directory"},
	} {
		err := w.checkBlocks(fsm.Spec{Blocks: []fsm.Block{{Path: c.path}}})
		r, ok := errors.AsType[*actors.Refusal](err)
		if c.code == 0 {
			if err != nil {
				t.Errorf("%s: %v", c.path, err)
			}
		} else if !ok || r.Code != c.code || !strings.Contains(r.Message, c.why) || !strings.Contains(r.Message, c.path) {
			t.Errorf("%s: %v", c.path, err)
		}
	}
	s := hv.Spec{Version: hv.SpecVersion}
	withBlocks(&s, []fsm.Block{{Path: at("disk"), ReadOnly: true, Serial: "block1"}})
	if want := (hv.Disk{Path: at("disk"), ReadOnly: true, Serial: "block1"}); s.Version != hv.SpecVersionDisks || len(s.Disks) != 1 || s.Disks[0] != want {
		t.Errorf("%+v", s)
	}
}
