package boot

import (
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func TestReadApplets(t *testing.T) {
	for name, c := range map[string]struct {
		in   string
		want []string // nil = an error
	}{
		"in order":     {"code\x00[\x00[[\x00ash\x00busybox\x00ls\x00\x00more", []string{"[", "[[", "ash", "ls"}},
		"not in order": {"\x00[\x00[[\x00ls\x00ash\x00\x00", nil},
		"no end":       {"\x00[\x00[[\x00ash\x00ls", nil},
		"none":         {"code", nil},
		"a path":       {"\x00[\x00[[\x00a/b\x00\x00", nil},
		"far too many": {"\x00[\x00[[\x00" + strings.Repeat("a\x00", 1<<16) + "\x00", nil},
	} {
		got, err := readApplets([]byte(c.in))
		if (err == nil) != (c.want != nil) || !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func TestCheckImage(t *testing.T) {
	amd64, arm64 := make([]byte, 0x300), make([]byte, 0x40)
	copy(amd64[0x202:], "HdrS")
	copy(arm64[0x38:], "ARM\x64")
	for _, c := range []struct {
		image []byte
		arch  string
		ok    bool
	}{{amd64, "amd64", true}, {amd64, "arm64", false}, {arm64, "arm64", true}, {arm64, "amd64", false}, {nil, "arm64", true}} {
		if err := checkImage(c.image, c.arch); (err == nil) != c.ok {
			t.Errorf("an image of %d bytes for %s: %v", len(c.image), c.arch, err)
		}
	}
}

// Assets of another architecture lie where those of the host are not looked for.
func TestArchPlaces(t *testing.T) {
	for _, arch := range Archs {
		dir, agent := archDir("/d", arch), AgentPath("/bin/agent", arch)
		if own := arch == runtime.GOARCH; (dir == "/d") != own || (agent == "/bin/agent") != own {
			t.Errorf("%s: %s, %s", arch, dir, agent)
		}
	}
	if _, err := Find("vax", t.TempDir()); err == nil || !strings.Contains(err.Error(), "amd64 and arm64") {
		t.Errorf("error %v", err)
	}
	if _, err := Prepare(t.Context(), PrepareOptions{Arch: "vax", Out: filepath.Join(t.TempDir(), "out")}); err == nil || !strings.Contains(err.Error(), `"vax"`) {
		t.Errorf("error %v", err)
	}
}
