//go:build e2e

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	"github.com/arcboxlabs/arcbox-engine/actors/client"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/cmd/internal/home"
)

// liveness bounds each wait; it says nothing of speed.
const liveness = 3 * time.Minute

// rig is a whole engine in this process, with real VM hosts beside it, so that
// its goroutines and descriptors can be counted, and one client of it.
type rig struct {
	testing.TB
	home   home.Home
	client *client.Client
	ended  chan error
}

// newRig runs an engine in a home of its own, below dir.
func newRig(t *testing.T, dir string) *rig {
	t.Helper()
	bin := os.Getenv("ARCBOX_BIN")
	if bin == "" {
		t.Fatal("ARCBOX_BIN names no directory of binaries: run ./task e2e")
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH")) // of arcbox-vmhost
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "abx"); err != nil { // short: there are sockets below it
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
	}
	h, err := home.Find(func(name string) string { return map[string]string{home.Var: dir}[name] })
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(t.TempDir(), "engine.log"))
	if err != nil {
		t.Fatal(err)
	}
	terminal := os.Stderr
	os.Stderr = log // where the engine's log goes
	r := &rig{TB: t, home: h, ended: make(chan error, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	go func() { r.ended <- serve(ctx, h, settings{allowSim: true, work: serveSockets}) }()
	t.Cleanup(func() {
		if r.client != nil {
			_ = r.client.Close()
		}
		cancel()
		if err := <-r.ended; err != nil {
			t.Errorf("the engine ended with %v", err)
		}
		os.Stderr = terminal
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("engine's log:\n%s", text[max(0, len(text)-16<<10):])
		}
		_ = log.Close()
	})
	r.within("the engine answers", func() bool {
		r.client, err = client.Dial(t.Context(), client.Socket(h.Socket()))
		return err == nil
	})
	return r
}

// ask sends a request and waits for its answer.
func ask[R proto.Message](r *rig, m proto.Message) (R, error) {
	ctx, cancel := context.WithTimeout(context.Background(), liveness)
	defer cancel()
	return client.Call[R](ctx, r.client, m)
}

func do(r *rig, m proto.Message) error {
	_, err := ask[*wire.Done](r, m)
	return err
}

func request() *wire.Request {
	return &wire.Request{Id: uuid.NewString(), PatienceNanos: int64(liveness)}
}

func (r *rig) create(name, script string) error {
	return do(r, &wire.CreateMachine{Request: request(), Name: name, Spec: &wire.Spec{Cpus: 1, Memory: 128 << 20, Backend: "sim", Script: script}})
}

func (r *rig) start(name string) error {
	return do(r, &wire.StartMachine{Request: request(), Name: name})
}

func (r *rig) stop(name string, kill bool) error {
	return do(r, &wire.StopMachine{Request: request(), Name: name, Kill: kill})
}

func (r *rig) remove(name string, force bool) error {
	return do(r, &wire.RemoveMachine{Request: request(), Name: name, Force: force})
}

func (r *rig) machines() []*wire.Machine {
	r.Helper()
	all, err := ask[*wire.Machines](r, &wire.ListMachines{})
	if err != nil {
		r.Fatal(err)
	}
	return all.GetMachines()
}

// within waits for a condition.
func (r *rig) within(what string, cond func() bool) {
	r.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(liveness); !cond(); <-tick.C {
		if time.Now().After(end) {
			r.Fatalf("not within %s: %s", liveness, what)
		}
	}
}

// held is what the engine has of the host.
type held struct {
	routines, descriptors, children, machines, sockets int
	heap                                               int64
}

func (h held) String() string {
	return fmt.Sprintf("%d goroutines, %d descriptors, %d processes, %d machines' directories, %d run directories, %d KiB of heap",
		h.routines, h.descriptors, h.children, h.machines, h.sockets, h.heap>>10)
}

func (r *rig) held() held {
	r.Helper()
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return held{
		routines: runtime.NumGoroutine(), descriptors: r.descriptors(), children: children(r),
		machines: entries(r, r.home.Machines()), sockets: entries(r, filepath.Join(r.home.Run, "m")), heap: int64(m.HeapAlloc),
	}
}

// descriptors counts all but the journal's, whose tables come and go.
func (r *rig) descriptors() int {
	r.Helper()
	const dir = "/proc/self/fd"
	list, err := os.ReadDir(dir)
	if err != nil {
		r.Fatal(err)
	}
	n := 0
	for _, e := range list {
		if to, _ := os.Readlink(filepath.Join(dir, e.Name())); !strings.HasPrefix(to, r.home.Journal()) {
			n++
		}
	}
	return n
}

// settle waits until the engine has no more than it had, but for some heap.
func (r *rig) settle(before held, slack int64) held {
	r.Helper()
	var now held
	defer func() {
		if r.Failed() {
			r.Logf("before: %s; now: %s", before, now)
		}
	}()
	r.within("the engine gives back what it took", func() bool {
		now = r.held()
		return now.routines <= before.routines && now.descriptors <= before.descriptors && now.children <= before.children &&
			now.machines <= before.machines && now.sockets <= before.sockets && now.heap <= before.heap+slack
	})
	return now
}

func entries(t testing.TB, dir string) int {
	list, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return len(list)
}

// children counts the processes that this one has made and not awaited.
func children(t testing.TB) int {
	list, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, e := range list {
		stat, err := os.ReadFile(filepath.Join("/proc", e.Name(), "stat"))
		if err != nil {
			continue // no process, or one that has just ended
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		if f := strings.Fields(rest); len(f) > 1 && f[1] == strconv.Itoa(os.Getpid()) {
			n++
		}
	}
	return n
}
