//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/arcboxlabs/arcbox-engine/cmd/internal/examples"
)

// reader is a person who types what a page says, in a home of his own, beside a
// host "lab" that ssh reaches.
type reader struct {
	*bed
	dir string   // where he is; his home directory too
	own []string // in pairs: what a page says, and what that is on this host
}

// newReader makes an empty home directory with debian.tar.xz in it.
func newReader(t *testing.T) *reader {
	t.Helper()
	lab := far(t)
	r := &reader{bed: newBed(t), dir: t.TempDir()}
	bin, err := filepath.Abs(os.Getenv("ARCBOX_BIN"))
	if err != nil {
		t.Fatal(err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(rootsFile(t, "systemd.tar.xz"), filepath.Join(r.dir, "debian.tar.xz")); err != nil {
		t.Fatal(err)
	}
	_, path, _ := strings.Cut(lab.env[1], "PATH=")
	r.env = []string{"HOME=" + r.dir, lab.env[0], "PATH=" + bin + ":" + path, "XDG_CACHE_HOME=" + cache, "LC_ALL=C.UTF-8", "TERM=dumb"}
	r.own = []string{"/srv/arcbox", lab.home, "8080", freePort(t), "7443", freePort(t)}
	return r
}

// freePort is one of this host that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(lis.Addr().String())
	if err := errors.Join(err, lis.Close()); err != nil {
		t.Fatal(err)
	}
	return port
}

// types a command into a shell; shown is what a terminal would show.
func (r *reader) types(e examples.Example) (shown string, err error) {
	ctx, cancel := context.WithTimeout(r.t.Context(), commandTime)
	defer cancel()
	said := slices.Clone(r.own)
	for i := 0; i < len(said); i += 2 {
		said[i], said[i+1] = said[i+1], said[i]
	}
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", strings.NewReplacer(r.own...).Replace(e.Command)) //nolint:gosec // our own page
	cmd.Env = append(append(os.Environ(), "ARCBOX_HOME="+r.home), r.env...)
	cmd.Dir = r.dir
	cmd.WaitDelay = time.Second // where it left something behind that holds its output
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	return strings.NewReplacer(said...).Replace(out.String()), errors.Join(err, ctx.Err())
}

// reads a page of the documents, types all of its examples, and tells how many.
func (r *reader) reads(page string) (run, aside int) {
	r.t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", page))
	if err != nil {
		r.t.Fatal(err)
	}
	p, err := examples.Read(page, string(text))
	if err != nil {
		r.t.Fatal(err)
	}
	for _, e := range p.Examples {
		began := time.Now()
		shown, err := r.types(e)
		took := time.Since(began).Round(time.Millisecond)
		if err != nil {
			r.t.Errorf("%s:%d: $ %s: %v after %s; it printed\n%s", e.Page, e.Line, e.Command, err, took, shown)
		} else if diff := e.Compare(shown); diff != "" {
			r.t.Errorf("%s:%d: $ %s: printed is not what is written (- missing, + printed):\n%s", e.Page, e.Line, e.Command, diff)
		} else {
			r.t.Logf("%s:%d: %s: $ %s", e.Page, e.Line, took, e.Command)
		}
	}
	return len(p.Examples), p.Aside
}

// TestGuide: what the guide says is so, from its first example to the last.
func TestGuide(t *testing.T) {
	r := newReader(t)
	began := time.Now()
	run, aside := r.reads("docs/guide.md")
	report(t, "%d examples of docs/guide.md run in %.1f s; %d blocks can't be run by a test", run, time.Since(began).Seconds(), aside)
}
