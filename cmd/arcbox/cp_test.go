package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/guest/tree"
	guestwire "github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// CopyOut gives what is at a path of the host.
func (a *fakeAgent) CopyOut(r *guestwire.CopyOutRequest, s guestwire.Agent_CopyOutServer) error {
	if a.parts != nil {
		for _, p := range a.parts {
			if err := s.Send(p); err != nil {
				return err
			}
		}
		return nil
	}
	if err := tree.Send(s.Context(), filepath.Join(a.root, string(r.GetPath())), s.Send, &tree.Stats{}); err != nil {
		return status.Error(codes.FailedPrecondition, err.Error())
	}
	return nil
}

// CopyIn takes to a path of the host.
func (a *fakeAgent) CopyIn(s guestwire.Agent_CopyInServer) error {
	first, err := s.Recv()
	if err != nil {
		return err
	}
	start := first.GetStart()
	a.starts = append(a.starts, start)
	to := tree.Target{Path: filepath.Join(a.root, string(start.GetPath())), Name: string(start.GetName()), Into: start.GetInto(), Links: true}
	err = tree.Receive(to, func() (*guestwire.CopyPart, error) { m, err := s.Recv(); return m.GetPart(), err }, &tree.Stats{})
	if err != nil {
		return status.Error(codes.FailedPrecondition, err.Error())
	}
	return s.SendAndClose(&guestwire.CopyInReply{})
}

// twoRoots is a guest's files and the host's, where arcbox runs.
func twoRoots(t *testing.T) (guest, host string) {
	t.Helper()
	guest, host = t.TempDir(), t.TempDir()
	for path, text := range map[string]string{"g": "guest's", "d/f": "in a directory", "d/sub/x": "deep"} {
		full := filepath.Join(guest, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(full), 0o700), os.WriteFile(full, []byte(text), 0o640)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.CopyFS(filepath.Join(host, "h"), os.DirFS(guest)), os.WriteFile(filepath.Join(host, "one"), []byte("1"), 0o600)); err != nil {
		t.Fatal(err)
	}
	t.Chdir(host)
	return guest, host
}

func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			b, err := os.ReadFile(path)
			if errors.Is(err, fs.ErrNotExist) {
				return nil // it was only half of one, and went while we looked
			}
			name, _ := filepath.Rel(dir, path)
			out[name] = string(b)
			return err
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestCopy(t *testing.T) {
	for _, c := range []struct {
		args  string
		stdin string
		guest map[string]string // new there
		host  map[string]string // new here
		out   string
	}{
		{args: "one web:two", guest: map[string]string{"two": "1"}},
		{args: "one web:", guest: map[string]string{"one": "1"}},
		{args: "one h web:d", guest: map[string]string{"d/one": "1", "d/h/g": "guest's", "d/h/d/f": "in a directory", "d/h/d/sub/x": "deep"}},
		{args: "h/d/. web:e", guest: map[string]string{"e/f": "in a directory", "e/sub/x": "deep"}},
		{args: "- web:in", stdin: "streamed", guest: map[string]string{"in": "streamed"}},
		{args: "web:g .", host: map[string]string{"g": "guest's"}},
		{args: "web:g web:d/f h", host: map[string]string{"h/g": "guest's", "h/f": "in a directory"}},
		{args: "web:d x", host: map[string]string{"x/f": "in a directory", "x/sub/x": "deep"}},
		{args: "web: x", host: map[string]string{"x/g": "guest's", "x/d/f": "in a directory", "x/d/sub/x": "deep"}},
		{args: "web:g ./a:b", host: map[string]string{"a:b": "guest's"}},
		{args: "web:d/f -", out: "in a directory"},
	} {
		guest, host := twoRoots(t)
		wantGuest, wantHost := files(t, guest), files(t, host)
		for name, text := range c.guest {
			wantGuest[name] = text
		}
		for name, text := range c.host {
			wantHost[name] = text
		}
		b := newBench(t, withAgent(t, &fakeAgent{root: guest}))
		b.stdin = strings.NewReader(c.stdin)
		if code := b.run(t, append([]string{"cp"}, strings.Fields(c.args)...)...); code != 0 || b.err.Len() > 0 || b.out.String() != c.out {
			t.Errorf("cp %s: exit %d, %q, %q", c.args, code, b.out.String(), b.err.String())
		}
		if d := cmp.Diff(wantGuest, files(t, guest)); d != "" {
			t.Errorf("cp %s: in the guest: %s", c.args, d)
		}
		if d := cmp.Diff(wantHost, files(t, host)); d != "" {
			t.Errorf("cp %s: here: %s", c.args, d)
		}
	}
}

func TestCopyRefusals(t *testing.T) {
	for args, want := range map[string]struct {
		code int
		text string
	}{
		"":                    {exitUsage, "at least one source"},
		"one":                 {exitUsage, "at least one source"},
		"one two":             {exitUsage, "neither one nor two is in a machine\nhint: arcbox cp one NAME:two"},
		"web:a db:b":          {exitUsage, "both in machines\nhint: arcbox cp web:a - | arcbox cp - db:b"},
		"web:a db:b h":        {exitUsage, "in two machines"},
		"- one web:d":         {exitUsage, "- is one file"},
		"web:a web:b -":       {exitUsage, "- is one file"},
		"web:a h --bogus":     {exitUsage, "bogus"},
		"web:none .":          {exitGeneral, "in the guest: \"copy: stat "},
		"none web:":           {exitGeneral, "stat none: no such file"},
		"web:d -":             {exitGeneral, "a directory can't go to a stream"},
		"web:d one":           {exitGeneral, "one is not a directory"},
		"one one web:g":       {exitGeneral, "g is not a directory"},
		"- web:d":             {exitGeneral, "d is a directory: a name is needed"},
		"web:g nowhere/there": {exitGeneral, "no such file"},
	} {
		guest, host := twoRoots(t)
		here, there := files(t, host), files(t, guest)
		b := newBench(t, withAgent(t, &fakeAgent{root: guest}))
		if code := b.run(t, append([]string{"cp"}, strings.Fields(args)...)...); code != want.code || !strings.Contains(b.err.String(), want.text) {
			t.Errorf("cp %s: exit %d, %q; want %d, %q", args, code, b.err.String(), want.code, want.text)
		}
		if d := cmp.Diff(here, files(t, host)) + cmp.Diff(there, files(t, guest)); d != "" {
			t.Errorf("cp %s: %s", args, d)
		}
	}
	b := newBench(t, answers(nil, refusal(wire.Code_CODE_NOT_FOUND)))
	if code := b.run(t, "cp", "web:x", "."); code != 3 {
		t.Errorf("no such machine: exit %d, %q", code, b.err.String())
	}
}

// TestCopyTellsWhatWasLeftOut: a hostile guest's links, and the rest copied.
func TestCopyTellsWhatWasLeftOut(t *testing.T) {
	guest, host := twoRoots(t)
	if err := errors.Join(os.Symlink("/etc/shadow", filepath.Join(guest, "d", "evil\x1b[2J")), os.Symlink("f", filepath.Join(guest, "d", "good"))); err != nil {
		t.Fatal(err)
	}
	b := newBench(t, withAgent(t, &fakeAgent{root: guest}))
	if code := b.run(t, "cp", "web:d", "x"); code != exitUnsafe || !strings.Contains(b.err.String(), "1 left out, the rest is copied:\nevil\ufffd[2J: a link to \"/etc/shadow\"") {
		t.Errorf("exit %d, %q", code, b.err.String())
	}
	_, err := os.Lstat(filepath.Join(host, "x", "evil\x1b[2J"))
	if to, _ := os.Readlink(filepath.Join(host, "x", "good")); !errors.Is(err, fs.ErrNotExist) || to != "f" || files(t, filepath.Join(host, "x"))["sub/x"] != "deep" {
		t.Errorf("copied: %v, good leads to %q", err, to)
	}
	b = newBench(t, withAgent(t, &fakeAgent{root: guest}))
	if code := b.run(t, "cp", "--links", "web:d", "y"); code != 0 {
		t.Errorf("exit %d, %q", code, b.err.String())
	}
	if to, _ := os.Readlink(filepath.Join(host, "y", "evil\x1b[2J")); to != "/etc/shadow" {
		t.Errorf("kept, it leads to %q", to)
	}
}

// TestCopyInterrupted leaves no half of a file, on either side.
func TestCopyInterrupted(t *testing.T) {
	guest, host := twoRoots(t)
	b := newBench(t, withAgent(t, &fakeAgent{root: guest}))
	r, w := io.Pipe()
	b.stdin = r
	go func() {
		_, _ = w.Write(bytes.Repeat([]byte("x"), 9*guestwire.Chunk)) // all but the last piece is sent
		b.sent <- os.Interrupt
	}()
	before := files(t, guest)
	if code := b.run(t, "cp", "-", "web:in"); code != exitInterrupted || b.err.Len() > 0 {
		t.Errorf("in: exit %d, %q", code, b.err.String())
	}
	_ = w.Close()

	hanging := &fakeAgent{root: guest, parts: []*guestwire.CopyPart{
		{Part: &guestwire.CopyPart_Entry{Entry: &guestwire.CopyEntry{Kind: guestwire.CopyEntry_KIND_FILE}}},
		{Part: &guestwire.CopyPart_Data{Data: &guestwire.CopyData{Data: []byte("half")}}},
	}}
	here := files(t, host)
	b = newBench(t, withAgent(t, hanging))
	if code := b.run(t, "cp", "web:x", "out"); code != exitGeneral || !strings.Contains(b.err.String(), "they end too early") {
		t.Errorf("out: exit %d, %q", code, b.err.String())
	}
	if d := cmp.Diff(here, files(t, host)); d != "" {
		t.Errorf("here: %s", d)
	}
	// The agent learns of the end a moment later.
	for ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second); ; {
		if d := cmp.Diff(before, files(t, guest)); d == "" {
			cancel()
			return
		} else if ctx.Err() != nil {
			cancel()
			t.Fatalf("in the guest: %s", d)
		}
	}
}

func TestCopyProgress(t *testing.T) {
	for want, c := range map[string]tree.Count{
		"copying  0 B  0 B/s":                                   {},
		"copying  512 B  256 B/s":                               {Files: 1, Bytes: 512, Total: 512},
		"copying  1.5 MiB of 3.0 MiB (50%)  768.0 KiB/s":        {Files: 1, Bytes: 3 << 19, Total: 3 << 20},
		"copying  2.0 GiB of 8.0 GiB (25%)  7 files  1.0 GiB/s": {Files: 7, Bytes: 2 << 30, Total: 8 << 30},
	} {
		if got := copied(c).text(2); got != want {
			t.Errorf("%+v: %q, want %q", c, got, want)
		}
	}
	if got := (carried{doing: "importing web", done: 1 << 20, total: 4 << 20}).text(0); got != "importing web  1.0 MiB of 4.0 MiB (25%)" {
		t.Error(got)
	}
}

func TestCopyCompletes(t *testing.T) {
	for part, want := range map[string]string{"we": "web:\tRunning\n:2", "web:": ":0", "./x": ":0"} {
		b := newBench(t, &fakeEngine{answer: world})
		if code := b.run(t, "__complete", "cp", part); code != 0 || !strings.HasPrefix(b.out.String(), want) {
			t.Errorf("%s: exit %d, %q", part, code, b.out.String())
		}
	}
}
