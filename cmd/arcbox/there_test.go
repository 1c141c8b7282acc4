package main

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/arcboxlabs/arcbox-engine/actors/client"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	guestwire "github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// thereBench has the context lab, reached by a fake ssh, chosen.
func thereBench(t *testing.T, arcbox string) *bench {
	t.Helper()
	fakeSSH(t, arcbox)
	dir := t.TempDir()
	b, _ := contextBench(t, dir, nil)
	if code := b.run(t, "context", "add", "lab", "ssh://lab/srv/a", "--use"); code != 0 {
		t.Fatal(code)
	}
	b, _ = contextBench(t, dir, nil)
	return b
}

// TestThere: what is about files of the engine's host is done by the arcbox there:
// each word arrives as it was typed, whatever a shell makes of it, and each code comes back.
func TestThere(t *testing.T) {
	file := filepath.Join(t.TempDir(), "Root.tar")
	if err := os.WriteFile(file, []byte("the archive"), 0o600); err != nil {
		t.Fatal(err)
	}
	const to = "--context|local|--until-hangup|--home|/srv/a|"
	for _, c := range []struct {
		args  []string
		stdin string
		want  string
	}{
		{[]string{"image", "ls"}, "", to + "image|ls|--|"},
		{[]string{"image", "ls", "--no-autostart"}, "", "--context|local|--until-hangup|--no-autostart|--home|/srv/a|image|ls|--|"},
		{[]string{"image", "list", "--filter", "name=a b", "--filter", "version='$(id)", "--format", "json"}, "", to + "image|ls|--filter=name=a b|--filter=version='$(id)|--format=json|--|"},
		{[]string{"image", "pull", "debian:12", "--arch", "arm64", "--context", "lab", "-q"}, "", to + "image|pull|--arch=arm64|--quiet=true|--|debian:12|"},
		{[]string{"image", "inspect", "a;b`c`"}, "", to + "image|inspect|--|a;b`c`|"},
		{[]string{"image", "rm", "a", "--", "-b"}, "", to + "image|rm|--|a|-b|"},
		{[]string{"image", "prune", "-a"}, "", to + "image|prune|--all=true|--|"},
		{[]string{"image", "import", file}, "", to + "image|import|--|-|root|the archive"},
		{[]string{"image", "import", file, "base", "--sha256", "ab"}, "", to + "image|import|--sha256=ab|--|-|base|the archive"},
		{[]string{"image", "import", "-", "base"}, "said", to + "image|import|--|-|base|said"},
		{[]string{"image", "import", "https://x.org/a.tar", "base"}, "", to + "image|import|--|https://x.org/a.tar|base|"},
		{[]string{"kernel", "ls"}, "", to + "kernel|ls|--|"},
		{[]string{"kernel", "use", "6.1"}, "", to + "kernel|use|--|6.1|"},
		{[]string{"kernel", "rm", "6.1"}, "", to + "kernel|rm|--|6.1|"},
		{[]string{"kernel", "probe", "6.1", "--boots", "3", "--timeout", "90s"}, "", to + "kernel|probe|--boots=3|--timeout=1m30s|--|6.1|"},
	} {
		b := thereBench(t, `printf '%s|' "$@"; cat; echo said there >&2; exit 3`)
		b.stdin = strings.NewReader(c.stdin)
		if code := b.run(t, c.args...); code != exitNotFound || b.out.String() != c.want || b.err.String() != "said there\n" {
			t.Errorf("%q: exit %d, %q, want %q; %q", c.args, code, b.out.String(), c.want, b.err.String())
		}
	}
}

func TestThereSaysWhoseFaultItIs(t *testing.T) {
	for arcbox, want := range map[string]string{
		"":                           "no arcbox in the PATH",
		"echo not you >&2; exit 255": "ssh ended with status 255",
	} {
		b := thereBench(t, arcbox)
		if code := b.run(t, "image", "ls"); code != exitNoEngine || !strings.Contains(b.err.String(), want) {
			t.Errorf("exit %d, %s", code, b.err.String())
		}
	}
	b := thereBench(t, `exec cat`) // until it is told to end
	b.sent <- os.Interrupt
	in, hold := io.Pipe()
	defer hold.Close()
	b.stdin = in
	if code := b.run(t, "image", "import", "-", "x"); code != exitInterrupted {
		t.Errorf("exit %d, %s", code, b.err.String())
	}
}

// imageThere is an arcbox that has one image, or pulls it.
func imageThere(t *testing.T, has bool, arch string) (script string, digest string) {
	t.Helper()
	digest = imageDigest()
	data, err := json.Marshal(map[string]any{"digest": digest, "origin": map[string]string{"architecture": arch, "kind": "simplestreams"}})
	if err != nil {
		t.Fatal(err)
	}
	found := "exit 3"
	if has {
		found = "exec echo '" + string(data) + "'"
	}
	return `case "$*" in
*inspect*) ` + found + `;;
*pull*) echo pulling >&2; exec echo '` + string(data) + `';;
*own-stdio*) printf 'arcbox-stdio 1\n` + strings.Repeat("ab", 16) + `'; exec cat;;
esac
exit 1`, digest
}

func TestCreateOfAnImageThere(t *testing.T) {
	for _, c := range []struct {
		has        bool
		arch, flag string
		code       int
	}{{true, "amd64", "amd64", 0}, {true, "arm64", "", 0}, {false, "amd64", "", 0}, {true, "arm64", "amd64", exitUsage}} {
		script, digest := imageThere(t, c.has, c.arch)
		b := thereBench(t, script)
		e := answers(&wire.Done{Machine: &wire.Machine{Name: "a"}}, nil)
		b.connect = func(context.Context, client.Door) (engine, error) { return e, nil }
		code := b.run(t, "create", "a", "--image", "debian:12", "--arch", c.flag)
		if code != c.code {
			t.Errorf("%+v: exit %d, %s", c, code, b.err.String())
		}
		if made := of[*wire.CreateMachine](e); code == 0 && (len(made) != 1 || made[0].GetSpec().GetImage() != digest || made[0].GetSpec().GetImageName() != "debian:12") {
			t.Errorf("%+v: %v", c, made)
		}
		if said := strings.Contains(b.err.String(), "pulling"); said == c.has {
			t.Errorf("%+v: %s", c, b.err.String())
		}
	}
}

// TestRunThere: the machine is the far engine's, owned by a command there that ends
// with this one.
func TestRunThere(t *testing.T) {
	script, digest := imageThere(t, true, "amd64")
	b := thereBench(t, script)
	var got *guestwire.ExecStart
	e := withAgent(t, collect(&got))
	ticket := e.answer
	e.answer = func(ctx context.Context, msg proto.Message) (proto.Message, error) {
		if _, ok := msg.(*wire.OpenGuest); ok {
			return ticket(ctx, msg)
		}
		return &wire.Done{Machine: &wire.Machine{Id: "the-id", State: "Running"}}, nil
	}
	b.connect = func(context.Context, client.Door) (engine, error) { return e, nil }
	if code := b.run(t, "run", "debian:12", "--", "uname", "-a"); code != 0 {
		t.Fatalf("exit %d, %s", code, b.err.String())
	}
	spec := of[*wire.CreateMachine](e)[0].GetSpec()
	if spec.GetOwner() != strings.Repeat("ab", 16) || spec.GetImage() != digest || strings.Join(got.GetArgv(), " ") != "uname -a" {
		t.Errorf("created was %v, it ran %v", spec, got)
	}
	if gone := of[*wire.RemoveMachine](e); len(gone) != 1 || gone[0].GetName() != "the-id" {
		t.Errorf("removed was %v", gone)
	}
}

// TestOwnerForAnotherHost: it is there as long as somebody holds on to it.
func TestOwnerForAnotherHost(t *testing.T) {
	b, _ := runBench(t, ends(&guestwire.ExecDone{}), nil)
	in, hold := io.Pipe()
	b.stdin = in
	read, said := io.Pipe()
	b.stdout = said
	code := make(chan int, 1)
	go func() { code <- b.run(t, "engine", "own-stdio") }()
	hello := make([]byte, len(stdioHello)+32)
	if _, err := io.ReadFull(read, hello); err != nil || !strings.HasPrefix(string(hello), stdioHello) {
		t.Fatalf("%q, %v", hello, err)
	}
	if all := b.owners(t); len(all) != 1 || filepath.Base(all[0]) != string(hello[len(stdioHello):]) {
		t.Errorf("owners %v", all)
	}
	if err := hold.Close(); err != nil {
		t.Fatal(err)
	}
	if got := <-code; got != 0 || len(b.owners(t)) != 0 {
		t.Errorf("exit %d, owners %v", got, b.owners(t))
	}
}

// TestImagesOverTCP: the engine there is asked nothing of files, and an image that it
// knows by its digest nobody is asked for: the engine looks it up.
func TestImagesOverTCP(t *testing.T) {
	dir := t.TempDir()
	b, _ := contextBench(t, dir, nil)
	if err := b.addContext(t.Context(), remoteContext{Name: "distant", Endpoint: "tcp://distant.example.org:7443"}, "", true); err != nil {
		t.Fatal(err)
	}
	for _, image := range []string{"debian:12", imageDigest()[:20]} {
		b, taken := contextBench(t, dir, nil)
		if code := b.run(t, "create", "a", "--image", image); code != exitConflict || *taken != nil || !strings.Contains(b.err.String(), "--image sha256:") {
			t.Errorf("%s: exit %d, door %v, %s", image, code, *taken, b.err.String())
		}
	}
	b = thereBench(t, "exit 9")
	e := answers(&wire.Done{Machine: &wire.Machine{Name: "a"}}, nil)
	b.connect = func(context.Context, client.Door) (engine, error) { return e, nil }
	if code := b.run(t, "create", "a", "--image", imageDigest()); code != 0 || len(of[*wire.CreateMachine](e)) != 1 {
		t.Errorf("exit %d, %s", code, b.err.String())
	}
}
