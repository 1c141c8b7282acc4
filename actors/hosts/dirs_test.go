package hosts

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/arcboxlabs/arcbox-engine/actors"
	"github.com/arcboxlabs/arcbox-engine/hv/vmhost/api"
)

// TestTailIsOfTheLastLaunch: what an end shows is what its own VM said.
func TestTailIsOfTheLastLaunch(t *testing.T) {
	mark := api.LaunchMark + "x at noon\n"
	for name, c := range map[string]struct{ text, want string }{
		"no file":              {"", ""},
		"one launch":           {mark + "a\nb\n", "a\nb"},
		"a launch before":      {mark + "old\n" + mark + "new\n", "new"},
		"the one before broke": {mark + "old" + mark + "new\n", "new"},
		"silent":               {mark + "old\n" + mark, ""},
		"long":                 {mark + strings.Repeat("a\n", 9000) + "b\n", strings.Repeat("a\n", tailLines-1) + "b"},
		"no line ends":         {mark + strings.Repeat("é", 9000), strings.Repeat("é", tailWidth) + "…"},
		"hostile":              {mark + "\x1b[2Ja\x00\n", "^[[2Ja^@"},
	} {
		w := New(Options{Machines: t.TempDir(), Logger: slog.New(slog.DiscardHandler)})
		dir := filepath.Join(w.Machines, "m")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if c.text != "" {
			if err := os.WriteFile(filepath.Join(dir, api.ConsoleFile), []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got := w.Tail(actors.Ref{ID: "m"}); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
