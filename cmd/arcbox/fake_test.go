package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/arcboxlabs/arcbox-engine/actors/client"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/cmd/internal/home"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// noon is when every test happens.
var noon = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) int64 { return noon.Add(-d).UnixNano() }

// fakeEngine answers from a script.
type fakeEngine struct {
	answer func(ctx context.Context, msg proto.Message) (proto.Message, error)
	follow func(ctx context.Context, q *wire.QueryJournal, each func([]*wire.Record) error) error
	open   func(t *wire.Ticket) (net.Conn, error)

	mu   sync.Mutex
	got  []proto.Message
	shut int
}

func (f *fakeEngine) record(msg proto.Message) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.got = append(f.got, msg)
}

func (f *fakeEngine) Ask(ctx context.Context, q proto.Message) (proto.Message, error) {
	f.record(q)
	return f.answer(ctx, q)
}

func (f *fakeEngine) Command(ctx context.Context, msg proto.Message) (*wire.Done, error) {
	f.record(msg)
	answer, err := f.answer(ctx, msg)
	done, _ := answer.(*wire.Done)
	return done, err
}

func (f *fakeEngine) Follow(ctx context.Context, q *wire.QueryJournal, each func([]*wire.Record) error) error {
	f.record(q)
	return f.follow(ctx, q, each)
}

func (f *fakeEngine) Open(_ context.Context, t *wire.Ticket) (net.Conn, error) { return f.open(t) }

func (f *fakeEngine) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.shut++
}

// answers is an engine that gives one answer, or one error, to everything.
func answers(msg proto.Message, err error) *fakeEngine {
	return &fakeEngine{answer: func(context.Context, proto.Message) (proto.Message, error) { return msg, err }}
}

// bench is a command line under test.
type bench struct {
	*app
	out, err bytes.Buffer
	sent     chan os.Signal
}

func newBench(t *testing.T, e engine) *bench {
	t.Helper()
	b := &bench{sent: make(chan os.Signal, 8)}
	b.app = newApp(strings.NewReader(""), &b.out, &b.err)
	b.env = func(name string) string { return map[string]string{home.Var: "/a"}[name] }
	b.environ = func() []string { return nil }
	b.now = func() time.Time { return noon }
	b.signals = func(...os.Signal) (<-chan os.Signal, func()) { return b.sent, func() {} }
	b.connect = func(context.Context, client.Door) (engine, error) {
		if e == nil {
			return nil, client.ErrNoEngine
		}
		return e, nil
	}
	b.launch = func(context.Context, home.Home, []string) (*child, error) {
		return nil, errors.New("an engine was started")
	}
	b.host = host{goos: "linux", uid: 1000, booted: func() bool { return false }, holds: func(string) bool { return false }, run: func(_ context.Context, name string, args ...string) (string, error) {
		return "", fmt.Errorf("%s %v was run", name, args)
	}}
	b.replace = func(string, []string, []string) error { return errors.New("another program was run") }
	return b
}

func (b *bench) run(t *testing.T, args ...string) int {
	t.Helper()
	return b.execute(t.Context(), args)
}

// golden compares with a file in testdata; go test -update writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (-want +got):\n%s", name, d)
	}
}

func machines() []*wire.Machine {
	spec := &wire.Spec{Cpus: 2, Memory: 4 << 30, Backend: "qemu", Restart: "no", Kernel: "/boot/vmlinuz", Accel: "auto",
		Blocks: []*wire.Block{{Path: "/dev/sdz", Serial: "block1"}, {Path: "/data/pets.img", ReadOnly: true, Serial: "block2"}}}
	return []*wire.Machine{
		{Name: "web", Id: "01a2", State: "Running", Desired: "running", Health: "ok", Address: "10.0.0.2", Spec: spec, Cid: 4,
			CreatedUnixNanos: ago(50 * time.Hour), SinceUnixNanos: ago(3 * time.Minute), Cause: "stopped", Launch: "01ff",
			LaunchedWith: &wire.Spec{Cpus: 1, Memory: 4 << 30},
			Accel:        "tcg", AccelNote: "/dev/kvm runs no guest code", AgentVersion: "1.0", HostVersion: "1.0", Seq: 12,
			ReadyUnixNanos: ago(2 * time.Minute), Phases: map[string]int64{"modules": 700, "init": 600, "listening": 900},
			Owed: []*wire.Owed{{Duty: "watch", What: "its VM is watched for its end"}}},
		{Name: "DB", Id: "01a1", State: "Stopped", Desired: "running", Health: "ok", Cause: "guest-panic", CauseDetail: "Kernel panic",
			Provisioned: &wire.Provisioned{What: "exit status 3", UnixNanos: ago(time.Minute), TookNanos: 4200e6, Status: 3, Tail: "no such package\x1b[2J"},
			Spec:        &wire.Spec{Cpus: 1, Memory: 1536 << 20, Backend: "qemu", Restart: "on-failure", Provision: &wire.Provision{Kind: "script", Digest: "abcd", TimeoutNanos: 1800e9}}, CreatedUnixNanos: ago(90 * time.Minute),
			SinceUnixNanos: ago(time.Minute), ExitedUnixNanos: ago(time.Minute), ExitStatus: 1, Attempt: 3, Seq: 20,
			NotBeforeUnixNanos: noon.Add(8 * time.Second).UnixNano(), ConsoleTail: "booting\x1b[31m\r\nKernel panic - not syncing\r\n",
			Owed: []*wire.Owed{{Duty: "start", What: "it is started again", ByUnixNanos: noon.Add(8 * time.Second).UnixNano()}}},
		{Name: "evil\x1b[2J", Id: "01a3", State: "Created", Desired: "stopped", Health: "degraded", Damaged: true},
		{Name: "fake", Id: "01a4", State: "Starting", Desired: "running", Health: "unknown", HealthWhy: "the engine has just started and has not looked yet",
			Spec: &wire.Spec{Cpus: 1, Memory: 64 << 20, Backend: "sim"}, CreatedUnixNanos: ago(10 * time.Second)},
		{Name: "tired", Id: "01a5", State: "Stopped", Desired: "running", Health: "degraded", Stray: true, Resting: true, Cause: "crashed",
			Spec: &wire.Spec{Cpus: 1, Memory: 64 << 20, Backend: "qemu"}, CreatedUnixNanos: ago(5 * time.Hour)},
	}
}

func records() []*wire.Record {
	return []*wire.Record{
		{Seq: 1, UnixNanos: ago(time.Hour), Kind: "engine-started", Principal: "engine", FactJson: []byte(`{"version":"1.0","boot":"b"}`)},
		{Seq: 2, UnixNanos: ago(59 * time.Minute), Machine: "01a2", Name: "web", Kind: "created", To: "Created", Principal: "uid:1000", Reason: "person",
			Request: "r-1", FactJson: []byte(`{"spec":{"version":1,"cpus":2,"memory":4294967296,"backend":"qemu","restart":"no"},"run_tag":"x"}`)},
		{Seq: 3, UnixNanos: ago(58 * time.Minute), Machine: "01a2", Name: "web", Kind: "start-requested", To: "Starting", Cid: 4, Principal: "uid:1000",
			Reason: "person", Launch: "01ff", FactJson: []byte(`{"boot":"b","allowed":60000000000}`)},
		{Seq: 4, UnixNanos: ago(57 * time.Minute), Machine: "01a2", Name: "web", Kind: "ready", To: "Running", Principal: "engine",
			FactJson: []byte(`{"agent_version":"1.0","phases":{"init":600}}`)},
		{Seq: 5, UnixNanos: ago(5 * time.Minute), Machine: "01a2", Name: "web", Kind: "exited", To: "Stopped", Principal: "engine",
			FactJson: []byte(`{"cause":"crashed","status":1,"detail":"qemu said \"no\"","plan":{"start":true,"attempt":2}}`)},
		{Seq: 6, Machine: "01a2", Unreadable: "checksum"},
		{Seq: 7, UnixNanos: ago(time.Minute), Machine: "01a2", Name: "web", Kind: "of-the-future", FactJson: []byte(`{"b":[1],"a":true}`)},
	}
}
