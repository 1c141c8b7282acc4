//go:build linux

package vmhost_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/arcboxlabs/arcbox-engine/hv"
	"github.com/arcboxlabs/arcbox-engine/hv/vmhost/api"
	"github.com/arcboxlabs/arcbox-engine/hv/vmhost/client"
)

// The engine dies at any moment of a launch: the lock is held exactly as long
// as a process of the machine lives.
func TestEngineKilledMidLaunch(t *testing.T) {
	w := newWorld(t, "start-takes=10ms")
	adopted := 0
	for range 25 {
		engine := w.engine()
		moment := time.NewTimer(time.Duration(rand.IntN(60_000)) * time.Microsecond)
		<-moment.C
		_ = engine.Process.Kill()
		_ = engine.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		found, err := client.Find(ctx, w.place())
		cancel()
		switch {
		case err != nil:
			t.Fatal(err)
		case found.Lock != nil:
			if pids := w.pids(""); len(pids) != 0 {
				t.Fatalf("the lock was free while %v lived", pids)
			}
			_ = found.Lock.Close()
		case found.Hello != nil:
			adopted++
			if w.free() {
				t.Fatal("the lock is free while the VM host answers")
			}
			w.end()
		default:
			t.Fatalf("found %+v", found)
		}
		_ = os.Remove(filepath.Join(w.spec.Dir, api.NoteFile))
	}
	t.Logf("%d of 25 launches outlived their engine", adopted)
}

// The note is there before the lock is free.
func TestNoteBeforeLock(t *testing.T) {
	for range 5 {
		w := newWorld(t, "")
		w.launch()
		if err := client.Connect(w.place()).PowerButton(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.eventually("the lock is free", w.free)
		if note, err := client.ReadNote(w.place()); err != nil || note == nil || note.Launch != w.spec.Launch {
			t.Fatalf("the lock is free, the note is %+v, %v", note, err)
		}
	}
}

// A hypervisor that outlives its VM host holds the lock until it is dead.
func TestHypervisorHoldsTheLock(t *testing.T) {
	w := newWorld(t, "outlives")
	w.spec.Backend = "fork"
	w.launch()
	host, hypervisor := w.only("arcbox-vmhost"), w.only("hypervisor")
	t.Cleanup(func() { _ = unix.Kill(hypervisor, unix.SIGKILL) }) // nobody else can, where it has no lock
	if err := unix.Kill(host, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	w.eventually("the VM host is gone", func() bool { return len(w.pids("arcbox-vmhost")) == 0 })
	if w.only("hypervisor") == hypervisor && w.free() {
		t.Fatal("the lock is free while the hypervisor lives")
	}
	if err := unix.Kill(hypervisor, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	w.eventually("the lock is free", w.free)
}

// The lock stays with the hypervisor, which dies with its VM host.
func TestLockHandedDown(t *testing.T) {
	w := newWorld(t, "")
	w.spec.Backend = "fork"
	w.launch()
	host, hypervisor := w.only("arcbox-vmhost"), w.only("hypervisor")
	if err := unix.Kill(host, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	w.eventually("the lock is free", w.free)
	if pids := w.pids(""); len(pids) != 0 {
		t.Fatalf("the lock is free and %v lives (VM host %d, hypervisor %d)", pids, host, hypervisor)
	}
}

// Processes that were stopped are killed all the same.
func TestEndOfTheStopped(t *testing.T) {
	for _, part := range []string{"arcbox-vmhost", "hypervisor"} {
		w := newWorld(t, "")
		w.spec.Backend = "fork"
		w.launch()
		pid := w.only(part)
		w.stop(pid)
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		lock, err := client.End(ctx, w.place())
		cancel()
		if err != nil || !lock.Held() {
			t.Fatalf("%s stopped: %v", part, err)
		}
		if pids := w.pids(""); len(pids) != 0 {
			t.Errorf("%s stopped: %v lives on", part, pids)
		}
		_ = lock.Close()
	}
}

// Where nobody listens, who holds the lock is killed, and who only reads the
// file is not.
func TestEndWithoutAListener(t *testing.T) {
	w := newWorld(t, "")
	w.launch()
	if err := os.Remove(filepath.Join(w.spec.RunDir, api.HostSocket)); err != nil {
		t.Fatal(err)
	}
	reader, err := os.StartProcess(w.bin, []string{"hypervisor", "reader"}, &os.ProcAttr{Files: []*os.File{nil, nil, nil, mustOpen(t, filepath.Join(w.spec.Dir, api.LockFile))}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = reader.Wait() }()
	defer func() { _ = reader.Kill() }()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	lock, err := client.End(ctx, w.place())
	if err != nil {
		t.Fatal(err)
	}
	_ = lock.Close()
	if err := reader.Signal(unix.Signal(0)); err != nil {
		t.Errorf("the reader was killed too: %v", err)
	}
}

func mustOpen(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// A full backlog hides the listener; it is found by the lock.
func TestEndOfAFullBacklog(t *testing.T) {
	w := newWorld(t, "")
	w.launch()
	w.stop(w.only("arcbox-vmhost"))
	path := filepath.Join(w.spec.RunDir, api.HostSocket)
	for {
		c, err := net.Dial("unix", path)
		if errors.Is(err, unix.EAGAIN) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	lock, err := client.End(ctx, w.place())
	if err != nil {
		t.Fatal(err)
	}
	_ = lock.Close()
}

// The five columns of the repair table.
func TestFind(t *testing.T) {
	w := newWorld(t, "")
	find := func() client.Found {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
		defer cancel()
		found, err := client.Find(ctx, w.place())
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	none := find()
	if none.Lock == nil || none.Note != nil || none.NoteErr != nil {
		t.Fatalf("free, no note: %+v", none)
	}
	_ = none.Lock.Close()

	h := w.launch()
	if held := find(); held.Hello == nil || held.Hello.Launch != w.spec.Launch || held.Lock != nil || held.Mute {
		t.Fatalf("held, answers: %+v", held)
	}
	pid := w.only("arcbox-vmhost")
	w.stop(pid)
	if mute := find(); !mute.Mute || mute.Lock != nil || mute.Hello != nil {
		t.Fatalf("held, mute: %+v", mute)
	}
	if _, err := h.Hello(shortly(t)); !errors.Is(err, client.ErrMute) {
		t.Fatalf("hello of a mute one: %v", err)
	}
	if err := unix.Kill(pid, unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	w.eventually("it answers again", func() bool { _, err := h.Hello(w.ctx()); return err == nil })
	if err := h.Kill(w.ctx()); err != nil {
		t.Fatal(err)
	}
	w.eventually("the lock is free", w.free)
	killed := find()
	if killed.Lock == nil || killed.Note == nil || killed.Note.Cause != hv.ExitKilled {
		t.Fatalf("free, note: %+v", killed)
	}
	if err := os.WriteFile(filepath.Join(w.spec.Dir, api.NoteFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	_ = killed.Lock.Close()
	damaged := find()
	if damaged.Lock == nil || damaged.NoteErr == nil {
		t.Fatalf("free, damaged note: %+v", damaged)
	}
	_ = damaged.Lock.Close()
	if _, err := h.Hello(w.ctx()); !errors.Is(err, client.ErrGone) {
		t.Errorf("hello of a dead one: %v", err)
	}
}

func shortly(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

// A mute VM host that comes back is found by the connection that was kept.
func TestFindWaitsForTheMute(t *testing.T) {
	w := newWorld(t, "start-takes=300ms")
	found := make(chan client.Found, 1)
	engine := w.engine()
	w.eventually("the socket is there", func() bool {
		_, err := os.Stat(filepath.Join(w.spec.RunDir, api.HostSocket))
		return err == nil
	})
	go func() {
		f, _ := client.Find(w.ctx(), w.place())
		found <- f
	}()
	if f := <-found; f.Hello == nil {
		t.Errorf("found %+v", f)
	}
	_ = engine.Process.Kill()
	_ = engine.Wait()
}

// What is sent to the socket by a stranger to the protocol harms nobody.
func TestHostileRequests(t *testing.T) {
	w := newWorld(t, "")
	h := w.launch()
	path := filepath.Join(w.spec.RunDir, api.HostSocket)
	for _, sent := range []string{
		"\n", "{}\n", "null\n", "[]\n", `{"op":"no such"}` + "\n", `{"op":"dial"}` + "\n", `{"op":"dial","port":-1}` + "\n",
		`{"op":"bridge","port":7}` + "\n", `{"op":"hello"}{"op":"kill"}` + "\n", strings.Repeat("[", 60<<10) + "\n",
		strings.Repeat("x", api.MaxLine+1), `{"op":"wait","after":1e99}` + "\n", `{"op":"dial","port":7,"timeout_ms":99999999}` + "\n",
	} {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		_, _ = c.Write([]byte(sent))
		line, _, err := api.ReadLine(c)
		if err == nil {
			var a api.Answer
			if a, err = api.DecodeAnswer(line); err == nil && a.OK {
				t.Errorf("%.40q was answered with ok", sent)
			}
		}
		if err != nil && !errors.Is(err, unix.ECONNRESET) { // it may close before all was read
			t.Errorf("%.40q: %v", sent, err)
		}
		_ = c.Close()
	}
	if _, err := h.Hello(w.ctx()); err != nil {
		t.Errorf("hello afterwards: %v", err)
	}
}
