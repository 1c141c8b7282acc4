package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/arcboxlabs/arcbox-engine/actors/client"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/cmd/internal/home"
	"github.com/arcboxlabs/arcbox-engine/guest/image"
	"github.com/arcboxlabs/arcbox-engine/guest/tree"
)

// mover is an engine with one machine to export, and place for another.
type mover struct {
	fakeEngine
	dir    string // its disk is there, and what comes
	spec   *wire.Spec
	noDisk bool
	broken error // what it says in the middle of the disk
	taken  bool  // the name of what is imported
	full   bool  // its disk is
	refuse error // the create

	made  *wire.CreateMachine
	going sync.WaitGroup
}

const pictureText = "the bytes of an image"

func imageDigest() string {
	sum := sha256.Sum256([]byte(pictureText))
	return "sha256:" + hex.EncodeToString(sum[:])
}

const movedSize = 256 << 20

func newMover(t *testing.T) *mover {
	t.Helper()
	m := &mover{dir: t.TempDir(), spec: &wire.Spec{
		Cpus: 2, Memory: 1 << 30, Backend: "qemu", Restart: "always", Accel: "auto", Image: imageDigest(), ImageName: "debian:12", Disk: movedSize,
		Network: "nat", Egress: "deny", AutoPorts: true, Cmdline: `quiet "x"`, Labels: map[string]string{"tier": "web", "plain": ""}, Protected: true,
		Ports:  []*wire.Port{{Protocol: "tcp", Listen: "127.0.0.1:8080", To: "80"}, {Protocol: "unix", Listen: "/run/s", To: "/s"}, {Protocol: "unix", Listen: "/run/in", To: "/in", In: true}},
		Shares: []*wire.Share{{Host: "/src", Guest: "/mnt", Writable: true}}, Kernel: "/boot/vmlinuz",
		Blocks: []*wire.Block{{Path: "/dev/sdz", ReadOnly: true}},
	}}
	f, err := os.Create(filepath.Join(m.dir, "from"))
	if err != nil {
		t.Fatal(err)
	}
	err = f.Truncate(movedSize)
	for at, text := range map[int64]string{0: "first", 100<<20 + 5: strings.Repeat("middle", 50000), movedSize - 4: "last"} {
		_, writeErr := f.WriteAt([]byte(text), at)
		err = errors.Join(err, writeErr)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	m.answer, m.open = m.say, m.stream
	t.Cleanup(m.going.Wait)
	return m
}

func (m *mover) say(_ context.Context, msg proto.Message) (proto.Message, error) {
	switch msg := msg.(type) {
	case *wire.ExportMachine:
		out := &wire.Exporting{Machine: &wire.Machine{Name: msg.GetName(), State: "Stopped", Spec: m.spec}, Ticket: &wire.Ticket{Ticket: "out"}}
		if m.noDisk {
			out.Ticket = nil
		}
		return out, nil
	case *wire.StageDisk:
		return &wire.Ticket{Ticket: "in"}, nil
	case *wire.CreateMachine:
		m.made = msg
		return &wire.Done{Machine: &wire.Machine{Name: msg.GetName(), State: "Created", Spec: msg.GetSpec()}}, m.refuse
	case *wire.InspectMachine:
		if m.taken {
			return &wire.Machine{Name: msg.GetName()}, nil
		}
	case *wire.ListMachines:
		return &wire.Machines{}, nil
	}
	return nil, &client.RefusedError{Code: wire.Code_CODE_NOT_FOUND, Message: "there is none"}
}

func (m *mover) to() string { return filepath.Join(m.dir, "to") }

func (m *mover) stream(t *wire.Ticket) (net.Conn, error) {
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	m.going.Go(func() {
		defer func() { _ = theirs.Close() }()
		if t.GetTicket() == "out" {
			err := tree.Send(context.Background(), filepath.Join(m.dir, "from"), tree.Into(theirs), &tree.Stats{})
			if err == nil {
				_ = tree.End(theirs, m.broken)
			}
			return
		}
		if m.full {
			_, _ = io.ReadFull(theirs, make([]byte, 64))
			_, _ = io.WriteString(theirs, "error: no space left on device: 3 MiB are free\n")
			return
		}
		if err := tree.Receive(tree.Target{Path: m.to()}, tree.From(theirs), &tree.Stats{}); err == nil {
			_, _ = io.WriteString(theirs, "ok "+strings.Repeat("ab", 16)+"\n")
			_, _ = io.Copy(io.Discard, theirs)
		}
		_ = os.Remove(m.to()) // as the engine drops it
	})
	return ours, nil
}

// moveBench is a command line whose home is a directory with the image in its store,
// or without.
func moveBench(t *testing.T, e engine, withImage bool) *bench {
	t.Helper()
	b := newBench(t, e)
	root := t.TempDir()
	b.env = func(name string) string { return map[string]string{home.Var: root}[name] }
	if withImage {
		addImage(t, b)
	}
	return b
}

func addImage(t *testing.T, b *bench) {
	t.Helper()
	s, err := b.images()
	if err != nil {
		t.Fatal(err)
	}
	st, err := s.Stage(t.Context(), "abcd", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	err = os.WriteFile(st.File("x"), []byte(pictureText), 0o400)
	if err == nil {
		_, err = s.Commit(t.Context(), st.File("x"), "debian:12", image.Manifest{
			Digest: imageDigest(), Size: int64(len(pictureText)),
			Origin: image.Origin{Kind: image.Machine, Reference: "debian:12", Distribution: "debian", Version: "12", Architecture: runtime.GOARCH},
		})
	}
	if err != nil {
		t.Fatal(err)
	}
}

func exported(t *testing.T, flags ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "web.arcbox")
	b := moveBench(t, newMover(t), true)
	if code := b.run(t, append([]string{"export", "web", file}, flags...)...); code != 0 {
		t.Fatalf("exit %d: %s", code, &b.err)
	}
	return file
}

func TestExportAndImport(t *testing.T) {
	file := exported(t)
	info, err := os.Stat(file)
	if err != nil || info.Mode() != 0o600 || info.Size() > 100<<10 {
		t.Fatalf("%v, %v", info, err)
	}
	m := newMover(t)
	b := moveBench(t, m, true)
	kept := make(chan *wire.CreateMachine, 1)
	m.answer = func(ctx context.Context, msg proto.Message) (proto.Message, error) {
		if c, ok := msg.(*wire.CreateMachine); ok {
			sameDisk(t, filepath.Join(m.dir, "from"), m.to())
			kept <- c
		}
		return m.say(ctx, msg)
	}
	if code := b.run(t, "import", file, "--name", "web2", "--memory", "2G", "-p", "9090:80"); code != 0 {
		t.Fatalf("exit %d: %s", code, &b.err)
	}
	got := (<-kept)
	s := got.GetSpec()
	if got.GetName() != "web2" || got.GetStage() != strings.Repeat("ab", 16) || s.GetMemory() != 2<<30 || s.GetCpus() != 2 || s.GetImage() != imageDigest() ||
		s.GetImageName() != "debian:12" || s.GetDisk() != movedSize || s.GetRestart() != "always" || s.GetEgress() != "deny" || s.GetCmdline() != `quiet "x"` {
		t.Errorf("%v", got)
	}
	if len(s.GetLabels()) != 2 || s.GetLabels()["tier"] != "web" || s.GetProtected() || s.GetAutoPorts() || s.GetKernel() != "" || len(s.GetShares())+len(s.GetBlocks()) != 0 {
		t.Errorf("%v", s)
	}
	if p := s.GetPorts(); len(p) != 1 || p[0].GetListen() != "127.0.0.1:9090" {
		t.Errorf("ports: %v", p)
	}
	for _, note := range []string{"--volume /src:/mnt:rw", "--block /dev/sdz:ro", "--kernel /boot/vmlinuz", "--socket /run/s:/s", "--socket /run/in:/in:in", "--auto-ports"} {
		if !strings.Contains(b.err.String(), note) {
			t.Errorf("%q does not say %s", b.err.String(), note)
		}
	}
	if strings.Contains(b.err.String(), "8080") {
		t.Errorf("a port that was said again is told: %s", &b.err)
	}
}

// Of a machine without an image, too, only what nobody said again is told.
func TestImportTellsWhatWasNotSaid(t *testing.T) {
	m := newMover(t)
	m.noDisk, m.spec.Image, m.spec.ImageName, m.spec.Disk = true, "", "", 0
	b := moveBench(t, m, false)
	if code := b.run(t, "export", "web", "-"); code != 0 {
		t.Fatalf("exit %d: %s", code, &b.err)
	}
	in := moveBench(t, m, false)
	in.stdin = bytes.NewReader(b.out.Bytes())
	code := in.run(t, "import", "-", "-p", "9090:80", "--auto-ports=false")
	if said := in.err.String(); code != 0 || strings.Contains(said, "--port") || strings.Contains(said, "--auto-ports") || !strings.Contains(said, "--volume /src:/mnt:rw") {
		t.Errorf("exit %d: %s", code, said)
	}
}

// sameDisk compares what two sparse files hold, and where their holes are.
func sameDisk(t *testing.T, a, b string) {
	t.Helper()
	var st [2]syscall.Stat_t
	var sums [2][32]byte
	for i, path := range []string{a, b} {
		if err := syscall.Stat(path, &st[i]); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		h := sha256.New()
		_, err = io.Copy(h, f)
		if err = errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		h.Sum(sums[i][:0])
	}
	if sums[0] != sums[1] || st[0].Size != st[1].Size || st[1].Blocks > st[0].Blocks {
		t.Errorf("%d bytes in %d blocks became %d in %d; equal: %t", st[0].Size, st[0].Blocks, st[1].Size, st[1].Blocks, sums[0] == sums[1])
	}
}

// An image that goes along comes into the store by a name of its own, and leaves it
// again where the machine is not to be.
func TestImportWithImage(t *testing.T) {
	file := exported(t, "--with-image")
	for _, refuse := range []error{nil, &client.RefusedError{Code: wire.Code_CODE_CONFLICT, Message: "taken just now"}} {
		m := newMover(t)
		m.refuse = refuse
		b := moveBench(t, m, false)
		code := b.run(t, "import", file)
		s, err := b.images()
		if err != nil {
			t.Fatal(err)
		}
		list, err := s.List()
		if err != nil {
			t.Fatal(err)
		}
		if refuse != nil {
			if code != exitConflict || len(list) != 0 {
				t.Errorf("refused: exit %d, %v: %s", code, list, &b.err)
			}
			continue
		}
		if code != 0 || len(list) != 1 || list[0].Digest != imageDigest() || !slices.Equal(list[0].Names, []string{"imported-" + imageDigest()[7:19]}) {
			t.Fatalf("exit %d, %+v: %s", code, list, &b.err)
		}
		if text, err := os.ReadFile(list[0].Path); err != nil || string(text) != pictureText {
			t.Errorf("%q, %v", text, err)
		}
	}
}

func TestExportWithoutADisk(t *testing.T) {
	m := newMover(t)
	m.noDisk = true
	b := moveBench(t, m, true)
	if code := b.run(t, "export", "web", "-"); code != 0 {
		t.Fatalf("exit %d: %s", code, &b.err)
	}
	in := moveBench(t, m, true)
	in.stdin = bytes.NewReader(b.out.Bytes())
	if code := in.run(t, "import", "-", "--format", "json"); code != 0 || m.made.GetStage() != "" || m.made.GetSpec().GetDisk() != movedSize {
		t.Errorf("exit %d: %s %v", code, &in.err, m.made)
	}
}

// What goes wrong on the way out leaves no file.
func TestExportFails(t *testing.T) {
	there := filepath.Join(t.TempDir(), "there")
	if err := os.WriteFile(there, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args   []string
		change func(*mover)
		code   int
		says   string
	}{
		"there already": {[]string{"web", there}, nil, exitConflict, "is there already"},
		"no directory":  {[]string{"web", filepath.Join(t.TempDir(), "no", "x")}, nil, exitGeneral, "no such file"},
		"a bad name":    {[]string{"../web", "x"}, nil, exitUsage, "letters"},
		"one argument":  {[]string{"web"}, nil, exitUsage, "a file"},
		"running": {[]string{"web", "x"}, func(m *mover) {
			m.answer = func(context.Context, proto.Message) (proto.Message, error) {
				return nil, &client.RefusedError{Code: wire.Code_CODE_CONFLICT, Message: "machine is Running", Hint: "arcbox stop web"}
			}
		}, exitConflict, "arcbox stop web"},
		"a bad disk":   {[]string{"web", "x"}, func(m *mover) { m.broken = syscall.EIO }, exitGeneral, "input/output error"},
		"engine gone":  {[]string{"web", "x"}, func(m *mover) { m.open = func(*wire.Ticket) (net.Conn, error) { return closed() } }, exitNoEngine, "went away"},
		"no image":     {[]string{"web", "x", "--with-image"}, func(m *mover) { m.spec.Image = "" }, exitUsage, "has no image"},
		"a lost image": {[]string{"web", "x", "--with-image"}, func(m *mover) { m.spec.Image = "sha256:" + strings.Repeat("0", 64) }, exitNotFound, "no such image"},
	} {
		m := newMover(t)
		if c.change != nil {
			c.change(m)
		}
		b := moveBench(t, m, true)
		dir := t.TempDir()
		if c.args[len(c.args)-1] == "x" || len(c.args) == 3 {
			c.args[1] = filepath.Join(dir, "x")
		}
		if code := b.run(t, append([]string{"export"}, c.args...)...); code != c.code || !strings.Contains(b.err.String(), c.says) {
			t.Errorf("%s: exit %d: %s", name, code, &b.err)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
			t.Errorf("%s: %v is left, %v", name, left, err)
		}
	}
	if text, err := os.ReadFile(there); err != nil || string(text) != "mine" {
		t.Errorf("%q, %v", text, err)
	}
}

func closed() (net.Conn, error) {
	a, b, err := socketPair()
	if err == nil {
		err = b.Close()
	}
	return a, err
}

// socketPair is two ends that hold something, as real ones do.
func socketPair() (a, b net.Conn, err error) {
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		return nil, nil, err
	}
	var ends [2]net.Conn
	for i, fd := range pair {
		f := os.NewFile(uintptr(fd), "pair")
		end, endErr := net.FileConn(f)
		ends[i], err = end, errors.Join(err, endErr, f.Close())
	}
	return ends[0], ends[1], err
}

// Ctrl-C in the middle leaves nothing, on either way.
func TestMoveInterrupted(t *testing.T) {
	file := exported(t)
	for _, way := range []string{"export", "import"} {
		m := newMover(t)
		b := moveBench(t, m, true)
		m.open = func(*wire.Ticket) (net.Conn, error) { // an engine that neither takes nor gives anything more
			ours, theirs, err := socketPair()
			m.going.Go(func() {
				b.sent <- os.Interrupt
				_, _ = io.Copy(io.Discard, theirs)
				_ = theirs.Close()
			})
			return ours, err
		}
		dir := t.TempDir()
		args := []string{"export", "web", filepath.Join(dir, "x")}
		if way == "import" {
			args = []string{"import", file}
		}
		if code := b.run(t, args...); code != exitInterrupted {
			t.Errorf("%s: exit %d: %s", way, code, &b.err)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) != 0 || m.made != nil {
			t.Errorf("%s: %v is left, %v", way, left, err)
		}
	}
}

// What goes wrong on the way in makes no machine.
func TestImportFails(t *testing.T) {
	file := exported(t)
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(whole)
	flipped[len(flipped)-40] ^= 1
	for name, c := range map[string]struct {
		in     []byte
		args   []string
		change func(*mover)
		image  bool
		code   int
		says   string
	}{
		"cut off":       {in: whole[:len(whole)/2], image: true, code: exitGeneral, says: "is damaged"},
		"its end":       {in: whole[:len(whole)-9], image: true, code: exitGeneral, says: "standard input: "},
		"flipped":       {in: flipped, image: true, code: exitGeneral, says: "standard input: "},
		"another file":  {in: []byte("hello"), image: true, code: exitGeneral, says: "no archive of a machine"},
		"nothing":       {image: true, code: exitGeneral, says: "nothing is in it"},
		"name taken":    {in: whole, image: true, change: func(m *mover) { m.taken = true }, code: exitConflict, says: "--name NEW"},
		"no image":      {in: whole, code: exitNotFound, says: "arcbox image pull debian:12"},
		"full":          {in: whole, image: true, change: func(m *mover) { m.full = true }, code: exitGeneral, says: "no space left"},
		"engine gone":   {in: whole, image: true, change: func(m *mover) { m.open = func(*wire.Ticket) (net.Conn, error) { return closed() } }, code: exitNoEngine, says: "went away"},
		"a bad flag":    {in: whole, image: true, args: []string{"--memory", "1M"}, code: exitUsage, says: "memory"},
		"not for it":    {in: whole, image: true, args: []string{"--image", "alpine"}, code: exitUsage, says: "arcbox create"},
		"a smaller one": {in: whole, image: true, args: []string{"--name", "-"}, code: exitUsage, says: "letters"},
	} {
		m := newMover(t)
		if c.change != nil {
			c.change(m)
		}
		b := moveBench(t, m, c.image)
		b.stdin = bytes.NewReader(c.in)
		if code := b.run(t, append([]string{"import", "-"}, c.args...)...); code != c.code || !strings.Contains(b.err.String(), c.says) {
			t.Errorf("%s: exit %d: %s", name, code, &b.err)
		}
		if m.made != nil {
			t.Errorf("%s: a machine was made", name)
		}
	}
}

func TestImportOfWhatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	for path, want := range map[string]struct {
		code int
		says string
	}{
		filepath.Join(dir, "none"): {exitNotFound, "no such file"},
		dir:                        {exitGeneral, "is a directory"},
	} {
		b := moveBench(t, newMover(t), true)
		if code := b.run(t, "import", path); code != want.code || !strings.Contains(b.err.String(), want.says) || !strings.Contains(b.err.String(), "hint: ls -l "+path) {
			t.Errorf("%s: exit %d: %s", path, code, &b.err)
		}
	}
}
