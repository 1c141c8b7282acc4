package agent

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// told is all that a set-up said.
type told struct {
	output string
	done   *wire.ProvisionDone
	err    error
}

func setUpOn(ctx context.Context, c wire.AgentClient, req *wire.ProvisionRequest) (t told) {
	if req.TimeoutNanos == 0 {
		req.TimeoutNanos = int64(testPatience)
	}
	stream, err := c.Provision(ctx, req)
	for err == nil {
		var reply *wire.ProvisionReply
		if reply, err = stream.Recv(); err == nil {
			t.output += string(reply.GetOutput())
			if reply.GetDone() != nil {
				t.done = reply.GetDone()
			}
		}
	}
	if !errors.Is(err, io.EOF) {
		t.err = err
	}
	return t
}

func script(key, text string) *wire.ProvisionRequest {
	return &wire.ProvisionRequest{Key: key, Script: []byte(text)}
}

// rooted serves an agent whose machine's root is a directory.
func rooted(t *testing.T, root string, change func(*Agent)) (context.Context, wire.AgentClient) {
	t.Helper()
	return serve(t, func(a *Agent) {
		a.provisions.root = root
		if change != nil {
			change(a)
		}
	})
}

func TestProvisionRunsOnce(t *testing.T) {
	root := t.TempDir()
	ctx, c := rooted(t, root, nil)
	count := filepath.Join(root, "count")
	req := script("k-1", "echo again >>"+count+"; echo out; echo err >&2; exit 3\n")
	first := setUpOn(ctx, c, req)
	if first.err != nil || first.output != "out\nerr\n" || first.done.GetStatus() != 3 || string(first.done.GetTail()) != "out\nerr\n" || first.done.GetTookNanos() <= 0 {
		t.Fatalf("%+v", first)
	}
	if again := setUpOn(ctx, c, req); again.err != nil || again.output != first.output || again.done.GetStatus() != 3 {
		t.Errorf("again: %+v", again)
	}
	ctx, c = rooted(t, root, nil) // another boot
	if next := setUpOn(ctx, c, req); next.err != nil || next.done.GetStatus() != 3 || string(next.done.GetTail()) != "out\nerr\n" || next.done.GetTookNanos() != first.done.GetTookNanos() {
		t.Errorf("in the next boot: %+v", next)
	}
	if text, err := os.ReadFile(count); err != nil || string(text) != "again\n" {
		t.Errorf("%q, %v: it ran more than once", text, err)
	}
	if other := setUpOn(ctx, c, script("k-2", string(req.Script))); other.done.GetStatus() != 3 {
		t.Errorf("another key: %+v", other)
	}
	if text, _ := os.ReadFile(count); string(text) != "again\nagain\n" {
		t.Errorf("%q: another key is another set-up", text)
	}
	if left, err := filepath.Glob(filepath.Join(root, scriptDir, "*"+scriptFile)); err != nil || len(left) > 0 {
		t.Errorf("%v are left, %v", left, err)
	}
}

func TestProvisionByInterpreter(t *testing.T) {
	for text, want := range map[string]string{
		"#!/bin/cat\nhello\n":                 "#!/bin/cat\nhello\n",
		"readlink /proc/self/fd/0; id -u >&1": "/dev/null\n",
		"#!/no/such/interpreter\n":            "",
	} {
		ctx, c := rooted(t, t.TempDir(), nil)
		got := setUpOn(ctx, c, script("k", text))
		if got.err != nil || !strings.HasPrefix(got.output, want) {
			t.Errorf("%q: %+v", text, got)
		}
		if failed := got.done.GetError() != ""; failed != (want == "") {
			t.Errorf("%q: error %q", text, got.done.GetError())
		}
	}
}

// TestProvisionIsJoined: a caller that goes does not end it, and the next one
// hears all of it.
func TestProvisionIsJoined(t *testing.T) {
	root := t.TempDir()
	ctx, c := rooted(t, root, nil)
	gate := filepath.Join(root, "gate")
	req := script("k", "echo begun; while ! test -e "+gate+"; do sleep 0.02; done; echo over\n")
	req.TimeoutNanos = int64(testPatience)
	leaving, leave := context.WithCancel(ctx)
	stream, err := c.Provision(leaving, req)
	if err != nil {
		t.Fatal(err)
	}
	if reply, err := stream.Recv(); err != nil || string(reply.GetOutput()) != "begun\n" {
		t.Fatal(reply, err)
	}
	leave()
	other := setUpOn(ctx, c, script("other", "true"))
	wantCode(t, other.err, codes.FailedPrecondition, "under way")
	joined := make(chan told, 1)
	go func() { joined <- setUpOn(ctx, c, req) }()
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := <-joined; got.err != nil || got.output != "begun\nover\n" || got.done.GetStatus() != 0 || got.done.GetError() != "" {
		t.Errorf("%+v", got)
	}
}

func TestProvisionWaitsForInit(t *testing.T) {
	booted := make(chan struct{})
	root := t.TempDir()
	ctx, c := rooted(t, root, func(a *Agent) { a.opts.Booted = booted })
	early := script("early", "true")
	early.TimeoutNanos = int64(time.Millisecond)
	if got := setUpOn(ctx, c, early); !got.done.GetTimedOut() || !strings.Contains(got.done.GetError(), "init") {
		t.Errorf("before the init is ready: %+v", got)
	}
	if before, err := (&provisions{root: root}).before("early"); before != nil || err != nil {
		t.Errorf("it never began, and is told of: %v, %v", before, err)
	}
	close(booted)
	if got := setUpOn(ctx, c, script("k", "true")); got.err != nil || got.done.GetError() != "" {
		t.Errorf("%+v", got)
	}
}

func TestProvisionIsEnded(t *testing.T) {
	ctx, c := rooted(t, t.TempDir(), nil)
	slow := script("slow", "echo begun; sleep 3600")
	slow.TimeoutNanos = int64(300 * time.Millisecond)
	if got := setUpOn(ctx, c, slow); !got.done.GetTimedOut() || got.done.GetSignal() != 9 || got.done.GetError() == "" || got.output != "begun\n" {
		t.Errorf("past its time: %+v", got)
	}
	if got := setUpOn(ctx, c, script("signal", "kill -TERM $$")); got.done.GetSignal() != 15 {
		t.Errorf("by a signal: %+v", got)
	}
	if got := setUpOn(ctx, c, script("much", "yes | head -c 3000000; echo end")); len(got.done.GetTail()) != wire.MaxTail || !strings.HasSuffix(got.output, "y\nend\n") {
		t.Errorf("much output: %d bytes of tail, ends with %q", len(got.done.GetTail()), got.output[max(0, len(got.output)-20):])
	}
}

// TestProvisionInterrupted: an agent that ends leaves the mark, and the next one
// does not run the script again.
func TestProvisionInterrupted(t *testing.T) {
	root := t.TempDir()
	ctx, stop := context.WithCancel(t.Context())
	a, err := New(Options{Token: testToken, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	a.provisions.root = root
	wait := a.provisions.live(ctx)
	collecting, end := context.WithCancel(t.Context())
	defer end()
	go a.children.run(collecting)
	s, err := a.beginProvision(&wire.ProvisionRequest{Key: "k", Script: []byte("echo begun; sleep 3600"), TimeoutNanos: int64(testPatience)})
	if err != nil {
		t.Fatal(err)
	}
	for len(s.output.tail(1)) == 0 {
		_, _, _, more := s.output.from(0, 1)
		if len(s.output.tail(1)) == 0 {
			<-more
		}
	}
	stop()
	wait()
	if s.err == nil || s.result != nil {
		t.Errorf("it ended with the agent, and has the result %v, %v", s.result, s.err)
	}
	if _, err := a.beginProvision(&wire.ProvisionRequest{Key: "k"}); err == nil {
		t.Error("an agent that ends began another")
	}
	next, c := rooted(t, root, nil)
	if got := setUpOn(next, c, script("k", "echo again")); !got.done.GetInterrupted() || got.output != "" {
		t.Errorf("in the next boot: %+v", got)
	}
}

func TestProvisionRefuses(t *testing.T) {
	ctx, c := rooted(t, t.TempDir(), nil)
	for part, req := range map[string]*wire.ProvisionRequest{
		"key":           script("../x", "true"),
		"either":        {Key: "k"},
		"at most 65536": script("k", strings.Repeat("#", wire.MaxScript+1)),
		"timeout":       {Key: "k", Script: []byte("true"), TimeoutNanos: int64(25 * time.Hour)},
		"script":        {Key: "k", Script: []byte("true"), CloudInit: true},
	} {
		wantCode(t, setUpOn(ctx, c, req).err, codes.InvalidArgument, part)
	}
}

func TestOutputIsBounded(t *testing.T) {
	o := newOutput()
	for range 20 {
		if err := o.add(make([]byte, outputMost/8)); err != nil {
			t.Fatal(err)
		}
	}
	text, next, over, _ := o.from(0, outputMost*2)
	if len(text) != outputMost || next != outputMost/8*20 || over {
		t.Errorf("%d bytes up to %d, over: %v", len(text), next, over)
	}
	o.end()
	if text, _, over, _ := o.from(next, 1); len(text) != 0 || !over {
		t.Errorf("behind the end: %q, %v", text, over)
	}
}

func write(t *testing.T, root, path, text string) {
	t.Helper()
	full := filepath.Join(root, path)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(full, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

func TestCloudInit(t *testing.T) {
	req := &wire.ProvisionRequest{Key: "k", CloudInit: true}
	for name, c := range map[string]struct {
		files map[string]string
		want  *wire.ProvisionDone
	}{
		"none":     {nil, &wire.ProvisionDone{Error: "the image has no cloud-init"}},
		"disabled": {map[string]string{cloudDisabled: ""}, &wire.ProvisionDone{Error: "cloud-init is there, and the image has it disabled"}},
		"good":     {map[string]string{cloudResult: `{"v1":{"datasource":"x","errors":[]}}`, cloudOutput: "said\n"}, &wire.ProvisionDone{Tail: []byte("said\n")}},
		"bad":      {map[string]string{cloudResult: `{"v1":{"errors":["a","b"]}}`}, &wire.ProvisionDone{Status: 1, Error: "cloud-init: a; b"}},
		"broken":   {map[string]string{cloudResult: `{`}, &wire.ProvisionDone{Status: 1, Error: "cloud-init's result can't be read: unexpected end of JSON input"}},
	} {
		root := t.TempDir()
		if c.files != nil {
			write(t, root, cloudInits[0], "")
		}
		for path, text := range c.files {
			write(t, root, path, text)
		}
		ctx, agent := rooted(t, root, nil)
		got := setUpOn(ctx, agent, req)
		if got.err != nil || got.done.GetStatus() != c.want.GetStatus() || got.done.GetError() != c.want.GetError() || string(got.done.GetTail()) != string(c.want.GetTail()) {
			t.Errorf("%s: %+v, want %v", name, got, c.want)
		}
	}
	root := t.TempDir()
	write(t, root, cloudInits[0], "")
	ctx, agent := rooted(t, root, nil)
	late := &wire.ProvisionRequest{Key: "late", CloudInit: true, TimeoutNanos: int64(time.Millisecond)}
	if got := setUpOn(ctx, agent, late); !got.done.GetTimedOut() {
		t.Errorf("too late: %+v", got)
	}
}

func TestSeed(t *testing.T) {
	from, root := t.TempDir(), t.TempDir()
	write(t, from, seedMetaData, "instance-id: x\n")
	write(t, from, seedUserData, "#cloud-config\n")
	s, err := takeSeed(from)
	if err != nil || string(s.userData) != "#cloud-config\n" {
		t.Fatal(s, err)
	}
	if left, err := os.ReadDir(from); err != nil || len(left) > 0 {
		t.Errorf("%v are left, %v", left, err)
	}
	if err := s.write(root); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(filepath.Join(root, "var")); err == nil {
		t.Error("an image without cloud-init got user-data")
	}
	write(t, root, cloudInits[1], "")
	for range 2 {
		if err := s.write(root); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{"meta-data": "instance-id: x\n", "user-data": "#cloud-config\n"} {
		path := filepath.Join(root, cloudSeed, name)
		text, err := os.ReadFile(path)
		info, statErr := os.Stat(path)
		if err != nil || statErr != nil || string(text) != want || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %q, %v, %v", name, text, info.Mode(), errors.Join(err, statErr))
		}
	}
	if s, err := takeSeed(from); err != nil || len(s.userData) > 0 {
		t.Errorf("no seed: %v, %v", s, err)
	}
}
