package client

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
	"github.com/arcboxlabs/arcbox-engine/hv/network/api"
	"github.com/arcboxlabs/arcbox-engine/hv/network/lease"
	vmclient "github.com/arcboxlabs/arcbox-engine/hv/vmhost/client"
)

const patience = 30 * time.Second

// rig is a place with an engine's client of the network.
type rig struct {
	t       *testing.T
	dir     string
	net     *Network
	changed chan struct{} // one token: a state has
	end     context.CancelFunc
}

func newRig(t *testing.T) *rig {
	t.Helper()
	dir, err := os.MkdirTemp("", "netd") // short: sockets
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, dir: dir, changed: make(chan struct{}, 1)}
	r.engine()
	t.Cleanup(func() {
		r.end()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		lock, err := vmclient.End(ctx, r.net.place)
		if err != nil {
			t.Error(err)
		} else {
			_ = lock.Close()
		}
		_ = os.RemoveAll(dir)
	})
	return r
}

// engine makes an engine anew, in place of the one before.
func (r *rig) engine() {
	self, err := os.Executable()
	if err != nil {
		r.t.Fatal(err)
	}
	if r.end != nil {
		r.end()
	}
	var mu sync.Mutex
	r.net = New(Options{
		Bin: self, Dir: filepath.Join(r.dir, "d"), RunDir: filepath.Join(r.dir, "r"),
		Log: slog.New(slog.NewTextHandler(testLog{r.t, &mu}, nil)),
		Changed: func(string, State) {
			select {
			case r.changed <- struct{}{}:
			default:
			}
		},
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.net.Run(ctx)
	}()
	r.end = func() {
		cancel()
		<-done
	}
}

type testLog struct {
	t  *testing.T
	mu *sync.Mutex
}

func (l testLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

// vm is a machine's hypervisor, which takes one connection after the other, and
// its VM host.
type vm struct {
	api.Machine
	links chan net.Conn
}

func (r *rig) vm(name string) *vm {
	r.t.Helper()
	a, err := lease.NewPool().Take(name)
	if err != nil {
		r.t.Fatal(err)
	}
	v := &vm{links: make(chan net.Conn, 8), Machine: api.Machine{
		ID: name, Name: name, MAC: lease.MAC(name), Address: a.String(),
		Link: filepath.Join(r.dir, name+".link"), Host: filepath.Join(r.dir, name),
	}}
	l, err := net.Listen("unix", v.Link)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			v.links <- c
		}
	}()
	return v
}

// ask sends an ARP question for the gateway and awaits its answer.
func (v *vm) ask(t *testing.T) net.Conn {
	t.Helper()
	for {
		select {
		case c := <-v.links:
			mac, _ := net.ParseMAC(v.MAC)
			q := append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, mac...)
			q = append(q, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1)
			q = append(append(q, mac...), 0, 0, 0, 0)
			q = append(append(q, 0, 0, 0, 0, 0, 0), lease.Gateway.AsSlice()...)
			_ = c.SetDeadline(time.Now().Add(patience))
			if _, err := c.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(q))), q...)); err != nil {
				continue // of a process that was killed meanwhile
			}
			answer := make([]byte, 4+len(q))
			if _, err := io.ReadFull(c, answer); err != nil {
				continue
			}
			return c
		case <-time.After(patience):
			t.Fatal("nobody connects")
		}
	}
}

func (r *rig) await(what string, id string, ok func(State) bool) State {
	r.t.Helper()
	late := time.After(patience)
	for {
		s, known := r.net.State(id)
		if known && ok(s) {
			return s
		}
		select {
		case <-r.changed:
		case <-late:
			r.t.Fatalf("%s does not come: %+v", what, s)
		}
	}
}

func linked(s State) bool { return s.Linked && s.Trouble == "" }

// pid is who listens.
func (r *rig) pid() int {
	r.t.Helper()
	c, err := net.Dial("unix", filepath.Join(r.dir, "r", "h.sock"))
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	raw, err := c.(*net.UnixConn).SyscallConn()
	if err != nil {
		r.t.Fatal(err)
	}
	pid := 0
	if err := raw.Control(func(fd uintptr) { pid = peerPid(int(fd)) }); err != nil || pid <= 1 {
		r.t.Fatalf("pid %d, %v", pid, err)
	}
	return pid
}

// lives starts the network with one machine, and gives its process.
func (r *rig) lives(v *vm) int {
	r.t.Helper()
	r.net.Set(v.Machine)
	r.await("the link", v.ID, linked)
	v.ask(r.t)
	// Asking ends the engine's session, which comes back by itself.
	pid := r.pid()
	r.await("the link", v.ID, linked)
	return pid
}

// What a process knows of a machine that has left the network is not told of the one
// that comes in its place at once.
func TestEndIsTold(t *testing.T) {
	n := New(Options{})
	m := api.Machine{ID: "a", Name: "a"}
	set, drop := func() { n.Set(m) }, func() { n.Drop("a") }
	for i, step := range []struct {
		do   []func()
		want []string
	}{
		{[]func(){set}, []string{"set"}},
		{[]func(){set}, nil},
		{[]func(){drop, set}, []string{"drop", "set"}},
		{[]func(){set, drop}, []string{"drop"}},
		{[]func(){drop}, nil},
		{[]func(){set, drop}, []string{"drop"}},
	} {
		for _, do := range step.do {
			do()
		}
		if got := said(t, n); !slices.Equal(got, step.want) {
			t.Errorf("step %d: %v, want %v", i, got, step.want)
		}
	}
}

// said is what a process is told now.
func said(t *testing.T, n *Network) (words []string) {
	t.Helper()
	here, there := net.Pipe()
	heard := make(chan string)
	go func() {
		lines := api.NewLines(there)
		for {
			l, err := lines.Next()
			switch {
			case err != nil:
				close(heard)
				return
			case l.Set != nil:
				heard <- "set"
			case l.Drop != "":
				heard <- "drop"
			}
		}
	}()
	go func() {
		if err := n.sayNews(&session{conn: here}); err != nil {
			t.Error(err)
		}
		_ = here.Close()
	}()
	for word := range heard {
		words = append(words, word)
	}
	return words
}

// Of a policy that is wanted nothing is known before the process has said it.
func TestPolicyIsConfirmed(t *testing.T) {
	r := newRig(t)
	v := r.vm("a")
	r.lives(v)
	for _, policy := range []string{"deny", "host:3142", "deny"} {
		v.Egress = policy
		r.net.Set(v.Machine)
		if s := r.await("the policy", "a", func(s State) bool { return s.Egress == policy }); s.Trouble != "" {
			t.Errorf("%s: %+v", policy, s)
		}
	}
	r.end() // nobody listens to the process any more
	v.Egress = "allow"
	r.net.Set(v.Machine)
	if s, _ := r.net.State("a"); s.Egress != "" {
		t.Errorf("%q is in force, who says so?", s.Egress)
	}
	r.engine()
	r.net.Set(v.Machine)
	r.await("the policy", "a", func(s State) bool { return s.Egress == "allow" })
}

func TestProcessIsReplaced(t *testing.T) {
	for name, signal := range map[string]unix.Signal{"killed": unix.SIGKILL, "asked to end": unix.SIGTERM} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			v := r.vm("a")
			pid := r.lives(v)
			begun := time.Now()
			if err := unix.Kill(pid, signal); err != nil {
				t.Fatal(err)
			}
			v.ask(t)
			r.await("the link", "a", linked)
			t.Logf("back after %s", time.Since(begun))
			if r.pid() == pid {
				t.Error("it is the same process")
			}
		})
	}
}

// An engine that goes leaves the network running, and the next one takes it over
// and says what belongs to it.
func TestProcessOutlivesEngine(t *testing.T) {
	r := newRig(t)
	a, b := r.vm("a"), r.vm("b")
	pid := r.lives(a)
	r.net.Set(b.Machine)
	r.await("the link", "b", linked)
	link := b.ask(t)
	r.engine()
	r.net.Set(a.Machine)
	r.await("the link", "a", linked)
	if got := r.pid(); got != pid {
		t.Errorf("process %d, before it was %d", got, pid)
	}
	_ = link.SetReadDeadline(time.Now().Add(patience))
	if _, err := link.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
		t.Errorf("what the new engine does not know is linked still: %v", err)
	}
}

func TestBadBinary(t *testing.T) {
	r := newRig(t)
	r.net.o.Bin = "/nonexistent/arcbox-netd"
	v := r.vm("a")
	r.net.Set(v.Machine)
	s := r.await("the trouble", "a", func(s State) bool { return s.Trouble != "" })
	if !strings.Contains(s.Trouble, "arcbox-netd") {
		t.Errorf("%q", s.Trouble)
	}
}

func TestRefusedMachine(t *testing.T) {
	r := newRig(t)
	v := r.vm("a")
	v.Address = "10.0.0.1"
	r.net.Set(v.Machine)
	s := r.await("the refusal", "a", func(s State) bool { return s.Trouble != "" })
	if !strings.Contains(s.Trouble, "10.0.0.1") {
		t.Errorf("%q", s.Trouble)
	}
}

// serveHost is a VM host whose agent answers each forward with its place, and
// echoes.
func (v *vm) serveHost(t *testing.T) {
	t.Helper()
	if err := os.Mkdir(v.Host, 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(v.Host, "h.sock"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go answerForward(c)
		}
	}()
}

func answerForward(c net.Conn) {
	defer func() { _ = c.Close() }()
	if json.NewDecoder(io.LimitReader(c, int64(len(`{"op":"dial","port":1024,"timeout_ms":14000}`)))).Decode(&struct{}{}) != nil {
		return
	}
	_, _ = io.WriteString(c, `{"ok":true}`+"\n")
	var word [len(wire.Forward)]byte
	for word != [len(wire.Forward)]byte([]byte(wire.Forward)) { // the rest of the request
		copy(word[:], word[1:])
		if _, err := io.ReadFull(c, word[len(word)-1:]); err != nil {
			return
		}
	}
	protocol, to, err := wire.ReadForward(c)
	if to == "81" {
		err = fmt.Errorf("nobody listens on port 81")
	}
	if wire.AnswerForward(c, err) != nil || err != nil {
		return
	}
	_, _ = io.WriteString(c, protocol+" "+to+": ")
	_, _ = io.Copy(c, c)
	_ = c.(*net.UnixConn).CloseWrite()
}

func TestForwards(t *testing.T) {
	r := newRig(t)
	v := r.vm("a")
	v.serveHost(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = free.Close()
	sock := filepath.Join(r.dir, "docker.sock")
	v.Forwards = []api.Forward{
		{Protocol: "tcp", Listen: free.Addr().String(), To: "80"},
		{Protocol: "tcp", Listen: taken.Addr().String(), To: "81"},
		{Protocol: "unix", Listen: sock, To: "/run/docker.sock"},
	}
	r.net.Set(v.Machine)
	s := r.await("the forwards", "a", func(s State) bool {
		return len(s.Forwards) == 3 && s.Forwards[0].Error == "" && s.Forwards[1].Error != "not yet" && s.Forwards[2].Error == ""
	})
	if !strings.Contains(s.Forwards[1].Error, "in use") {
		t.Errorf("a taken port: %q", s.Forwards[1].Error)
	}
	if got := through(t, "tcp", free.Addr().String()); got != "tcp 80: hi" {
		t.Errorf("%q", got)
	}
	if got := through(t, "unix", sock); got != "unix /run/docker.sock: hi" {
		t.Errorf("%q", got)
	}
	_ = taken.Close() // it is tried again
	r.await("the port", "a", func(s State) bool { return s.Forwards[1].Error == "" })
	if got := through(t, "tcp", taken.Addr().String()); got != "" {
		t.Errorf("where nobody listens: %q", got)
	}
	v.Forwards = v.Forwards[:1]
	r.net.Set(v.Machine)
	r.await("the end of others", "a", func(s State) bool { return len(s.Forwards) == 1 })
	if got := through(t, "tcp", free.Addr().String()); got != "tcp 80: hi" {
		t.Errorf("who stays: %q", got)
	}
}

func through(t *testing.T, network, address string) string {
	t.Helper()
	c, err := net.Dial(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(patience))
	_, _ = io.WriteString(c, "hi")
	_ = c.(interface{ CloseWrite() error }).CloseWrite()
	b, _ := io.ReadAll(c)
	return string(b)
}
