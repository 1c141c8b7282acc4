package agent

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// sharesOf are shares that touch no file system: mount is what happens to each.
func sharesOf(mount func(wire.Share) error, tags ...string) (s *shares, covered *[]string) {
	var list []wire.Share
	for _, tag := range tags {
		list = append(list, wire.Share{Tag: tag, On: "/" + tag})
	}
	s, covered = newShares(list), new([]string)
	s.mount = mount
	s.cover = func(on string) error { *covered = append(*covered, on); return nil }
	return s, covered
}

func statesOf(t *testing.T, s *shares, lost ...string) (out []string) {
	t.Helper()
	a := &Agent{opts: Options{Shares: s}}
	r, err := a.Shares(context.Background(), &wire.SharesRequest{WaitNanos: int64(shareMost), Lost: lost})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range r.GetShares() {
		out = append(out, x.GetTag()+": "+x.GetError())
	}
	return out
}

// A share that fails costs only itself; so does one that is lost later. Each is
// covered once.
func TestSharesFailAlone(t *testing.T) {
	s, covered := sharesOf(func(w wire.Share) error {
		if w.Tag == "b" {
			return errors.New("no such tag")
		}
		return nil
	}, "a", "b", "c")
	s.mountAll(slog.New(slog.DiscardHandler))
	want := []string{"a: ", "b: no such tag", "c: "}
	if got := statesOf(t, s); !slices.Equal(got, want) || !slices.Equal(*covered, []string{"/b"}) {
		t.Errorf("%q, covered %q", got, *covered)
	}
	for range 2 {
		if got := statesOf(t, s, "c", "nobody"); !slices.Equal(got, want) || !slices.Equal(*covered, []string{"/b", "/c"}) {
			t.Errorf("%q, covered %q", got, *covered)
		}
	}
}

// A host that does not answer holds up neither the boot nor the other shares.
func TestSharesOfMuteHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answer := make(chan struct{})
		s, _ := sharesOf(func(w wire.Share) error {
			if w.Tag == "mute" {
				<-answer
			}
			return nil
		}, "mute", "good")
		s.mountAll(slog.New(slog.DiscardHandler))
		if got := statesOf(t, s); !slices.Equal(got, []string{"mute: not mounted yet", "good: "}) {
			t.Errorf("%q", got)
		}
		close(answer)
		synctest.Wait()
		if got := statesOf(t, s); !slices.Equal(got, []string{"mute: ", "good: "}) {
			t.Errorf("%q", got)
		}
	})
}

func TestTakeShares(t *testing.T) {
	path := filepath.Join(t.TempDir(), "shares")
	if list, err := takeShares(path); list != nil || err != nil {
		t.Errorf("of no file: %v, %v", list, err)
	}
	for text, want := range map[string]int{`[{"tag":"share1","on":"/src"}]`: 1, `[]`: 0, `{`: -1, `"x"`: -1} {
		if err := os.WriteFile(path, []byte(text), 0o400); err != nil {
			t.Fatal(err)
		}
		list, err := takeShares(path)
		if (err != nil) != (want < 0) || err == nil && len(list) != want {
			t.Errorf("%s: %v, %v", text, list, err)
		}
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s: the file is still there", text)
		}
	}
	if err := mountShare(wire.Share{Tag: "share1", On: "src"}); err == nil {
		t.Error("a relative path was taken")
	}
}
