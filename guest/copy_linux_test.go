package guest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/arcboxlabs/arcbox-engine/guest/tree"
	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// sends sends what is at a path.
func sends(path string) func(context.Context, tree.Sink) error {
	return func(ctx context.Context, sink tree.Sink) error { return tree.Send(ctx, path, sink, &tree.Stats{}) }
}

func receives(to tree.Target) func(tree.Source) error {
	return func(next tree.Source) error { return tree.Receive(to, next, &tree.Stats{}) }
}

// TestCopyThereAndBack goes through a real agent.
func TestCopyThereAndBack(t *testing.T) {
	ctx, c := connected(t)
	here, there := t.TempDir(), t.TempDir()
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<18)
	if err := errors.Join(os.Mkdir(filepath.Join(here, "d"), 0o700), os.WriteFile(filepath.Join(here, "d", "big"), big, 0o640),
		os.WriteFile(filepath.Join(here, "d", "no text\xff"), nil, 0o600), os.Symlink("/elsewhere\xff", filepath.Join(here, "d", "link"))); err != nil {
		t.Fatal(err)
	}
	if err := c.CopyIn(ctx, CopyTarget{Path: there, Name: "e"}, sends(filepath.Join(here, "d"))); err != nil {
		t.Fatal(err)
	}
	if err := c.CopyOut(ctx, filepath.Join(there, "e"), "", receives(tree.Target{Path: filepath.Join(here, "back"), Links: true})); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(here, "back", "big"))
	if to, _ := os.Readlink(filepath.Join(here, "back", "link")); err != nil || !bytes.Equal(got, big) || to != "/elsewhere\xff" {
		t.Errorf("%d bytes, %v; the link leads to %q", len(got), err, to)
	}
	if _, err := os.Stat(filepath.Join(here, "back", "no text\xff")); err != nil {
		t.Error(err)
	}
	var out bytes.Buffer
	if err := c.CopyOut(ctx, filepath.Join(there, "e", "big"), "", func(next tree.Source) error {
		return tree.ReceiveStream(&out, next, &tree.Stats{})
	}); err != nil || !bytes.Equal(out.Bytes(), big) {
		t.Errorf("%d bytes, %v", out.Len(), err)
	}
}

func TestCopyInBelongsToTheUser(t *testing.T) {
	ctx, c := connected(t)
	here, there := t.TempDir(), t.TempDir()
	if err := errors.Join(os.Mkdir(filepath.Join(here, "d"), 0o700), os.WriteFile(filepath.Join(here, "d", "f"), nil, 0o600), os.Symlink("f", filepath.Join(here, "d", "l"))); err != nil {
		t.Fatal(err)
	}
	err := c.CopyIn(ctx, CopyTarget{Path: there, Name: "e", User: "65534:65533"}, sends(filepath.Join(here, "d")))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"e", "e/f", "e/l"} {
		info, err := os.Lstat(filepath.Join(there, name))
		if err != nil {
			t.Fatal(err)
		}
		own := info.Sys().(*syscall.Stat_t)
		if isRoot := os.Geteuid() == 0; isRoot && (own.Uid != 65534 || own.Gid != 65533) || !isRoot && int(own.Uid) != os.Geteuid() {
			t.Errorf("%s belongs to %d:%d", name, own.Uid, own.Gid)
		}
	}
}

func TestCopyErrors(t *testing.T) {
	ctx, c := connected(t)
	here := t.TempDir()
	text := filepath.Join(here, "text")
	if err := os.WriteFile(text, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		run  func() error
		want string
	}{
		"not there":   {func() error { return c.CopyOut(ctx, "/no/such/file", "", receives(tree.Target{Path: here, Name: "x"})) }, `in the guest: "stat /no/such/file: no such file`},
		"not at home": {func() error { return c.CopyOut(ctx, "no-such-file", "", receives(tree.Target{Path: here, Name: "x"})) }, `/no-such-file: no such file`},
		"no such user": {func() error {
			return c.CopyOut(ctx, text, "no-such-user", receives(tree.Target{Path: here, Name: "x"}))
		}, `user \"no-such-user\"`},
		"not into":     {func() error { return c.CopyIn(ctx, CopyTarget{Path: "/no/such/dir/x", Name: "x"}, sends(text)) }, `in the guest: "`},
		"no directory": {func() error { return c.CopyIn(ctx, CopyTarget{Path: text, Name: "x", Into: true}, sends(text)) }, "is not a directory"},
		"no source":    {func() error { return c.CopyIn(ctx, CopyTarget{Path: here, Name: "x"}, sends("/no/such/file")) }, "copy: stat /no/such/file"},
		"no such owner": {func() error {
			return c.CopyIn(ctx, CopyTarget{Path: here, Name: "x", User: "no-such-user"}, sends(text))
		}, `user \"no-such-user\"`},
		"a name with /": {func() error { return c.CopyIn(ctx, CopyTarget{Path: here, Name: "../x"}, sends(text)) }, "one component"},
		"NUL in a path": {func() error { return c.CopyIn(ctx, CopyTarget{Path: "\x00", Name: "x"}, sends(text)) }, "NUL"},
		"a broken order": {func() error {
			return c.CopyIn(ctx, CopyTarget{Path: here, Name: "x"}, func(_ context.Context, sink tree.Sink) error { return sink(&wire.CopyPart{}) })
		}, "InvalidArgument"},
	} {
		if err := test.run(); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %s", name, err, test.want)
		}
	}
	if list, err := os.ReadDir(here); err != nil || len(list) != 1 {
		t.Errorf("left behind: %v, %v", list, err)
	}
}

// TestCopyCutShort: a source that fails in the middle leaves nothing in the
// guest, and the reason is told.
func TestCopyCutShort(t *testing.T) {
	ctx, c := connected(t)
	there, broken := t.TempDir(), errors.New("broken pipe of the caller")
	r, w := io.Pipe()
	go func() {
		_, _ = w.Write(make([]byte, 1<<20))
		w.CloseWithError(broken)
	}()
	err := c.CopyIn(ctx, CopyTarget{Path: there + "/x"}, func(ctx context.Context, sink tree.Sink) error {
		return tree.SendStream(ctx, r, sink, &tree.Stats{})
	})
	if !errors.Is(err, broken) {
		t.Error(err)
	}
	for { // the agent hears of it a moment later
		list, err := os.ReadDir(there)
		if err != nil || ctx.Err() != nil {
			t.Fatalf("left behind: %v, %v", list, err)
		}
		if len(list) == 0 {
			return
		}
	}
}
