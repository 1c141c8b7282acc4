package vz

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// echoPort is the port of a rig's guest that echoes.
const echoPort = 7

// errState is how the framework refuses what does not fit the state.
var errState = &fault{Domain: domainVZ, Code: 3, Text: "Invalid virtual machine state."}

// rig is a machine without a framework: its guest is goroutines, its sockets are
// the kernel's, and it keeps the framework's rules. What it is told is written
// down.
type rig struct {
	wires  wires
	states chan state

	mu     sync.Mutex
	state  state
	told   []deed
	takes  map[uint32]func(stream)
	open   []net.Conn
	deaf   bool              // it obeys no request to stop
	hold   map[deed]chan int // what a deed waits for
	held   chan deed         // a deed that waits
	refuse map[deed]error
	mute   bool // Connect and Accept never answer
	boots  int  // of its guests
	guest  string
	quit   chan int
}

// newRig is a framework with one machine.
func newRig(t *testing.T, change func(*rig)) (*rig, framework) {
	t.Helper()
	r := &rig{states: make(chan state, 64), state: stateStopped, takes: map[uint32]func(stream){}, quit: make(chan int), held: make(chan deed, 16)}
	if change != nil {
		change(r)
	}
	t.Cleanup(func() { close(r.quit) })
	return r, framework{
		Make: func(_ config, w wires) (machine, error) {
			r.wires = w
			return r, nil
		},
		Identify: func() ([]byte, error) { return []byte("a VM"), nil },
		Saves:    true,
		Limits:   func() limits { return limits{MinCPUs: 1, MaxCPUs: 8, MinMemory: 4 << 20, MaxMemory: 64 << 30} },
	}
}

// allowed are the states in which the framework takes a deed.
var allowed = map[deed][]state{
	deedStart: {stateStopped, stateError}, deedPause: {stateRunning}, deedResume: {statePaused},
	deedAsk: {stateRunning}, deedStop: {stateRunning, statePaused},
	deedSave: {statePaused}, deedRestore: {stateStopped},
}

func (r *rig) May(d deed) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mayLocked(d)
}

func (r *rig) mayLocked(d deed) bool {
	for _, s := range allowed[d] {
		if s == r.state {
			return true
		}
	}
	return false
}

func (r *rig) Do(d deed, file string) error {
	r.mu.Lock()
	r.told = append(r.told, d)
	hold, refuse := r.hold[d], r.refuse[d]
	r.mu.Unlock()
	if hold != nil {
		r.held <- d
		select {
		case <-hold:
		case <-r.quit:
		}
	}
	if refuse != nil {
		return refuse
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.mayLocked(d) {
		return errState
	}
	switch d {
	case deedStart:
		r.boots++
		r.guest = fmt.Sprint("guest ", r.boots)
		r.goLocked(stateStarting, stateRunning)
	case deedSave: // its rights are not the framework's business
		r.goLocked(stateSaving)
		err := os.WriteFile(file, []byte(r.guest), 0o644)
		r.goLocked(statePaused)
		return err
	case deedRestore:
		guest, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		r.guest = string(guest)
		r.goLocked(stateRestoring, statePaused)
	case deedPause:
		r.goLocked(statePausing, statePaused)
	case deedResume:
		r.goLocked(stateResuming, stateRunning)
	case deedAsk:
		if !r.deaf {
			r.goLocked(stateStopping, stateStopped)
		}
	case deedStop:
		r.goLocked(stateStopping, stateStopped)
	}
	return nil
}

// goLocked passes through states; mu is held.
func (r *rig) goLocked(through ...state) {
	for _, s := range through {
		r.state = s
		r.states <- s
		if s.over() {
			for _, c := range r.open {
				_ = c.Close()
			}
		}
	}
}

// become is the guest's, or the framework's own doing.
func (r *rig) become(through ...state) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.goLocked(through...)
}

func (r *rig) deeds() []deed {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]deed(nil), r.told...)
}

// who is the guest that it runs.
func (r *rig) who() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.guest
}

func (r *rig) States() <-chan state { return r.states }

// pair is a connection: the host's end as the framework gives it, and the guest's.
func (r *rig) pair(local, remote uint32) (stream, *net.UnixConn, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return stream{}, nil, err
	}
	var ends [2]net.Conn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "pair")
		c, err := net.FileConn(f)
		_ = f.Close()
		if err != nil {
			return stream{}, nil, err
		}
		ends[i] = c
	}
	// The framework's is wrapped as the binding wraps it.
	raw, err := rawOf(&struct{ rawConn net.Conn }{ends[0]})
	if err != nil {
		return stream{}, nil, err
	}
	s, err := streamOf(raw, local, remote)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open = append(r.open, ends[1])
	return s, ends[1].(*net.UnixConn), err
}

func (r *rig) Connect(port uint32) (stream, error) {
	switch {
	case r.mute:
		<-r.quit
		return stream{}, errState
	case !r.May(deedStop):
		return stream{}, errState
	case port != echoPort:
		return stream{}, &fault{Domain: domainPOSIX, Code: codeConnectionReset, Text: "Connection reset by peer"}
	}
	host, guest, err := r.pair(1<<20, port)
	if err != nil {
		return stream{}, err
	}
	go func() {
		_, _ = io.Copy(guest, guest)
		_ = guest.CloseWrite()
	}()
	return host, nil
}

func (r *rig) Accept(port uint32, take func(stream)) error {
	if r.mute {
		r.held <- "accept"
		<-r.quit
		return errState
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.refuse["accept"]; err != nil {
		return err
	}
	if r.takes[port] != nil {
		return errors.New("a port was listened on twice")
	}
	r.takes[port] = take
	return nil
}

// dialHost is the guest's dial of a port of the host. It is refused by an end of
// the connection, where nobody listens.
func (r *rig) dialHost(port uint32) (net.Conn, error) {
	r.mu.Lock()
	take := r.takes[port]
	r.mu.Unlock()
	if take == nil {
		return nil, unix.ECONNRESET
	}
	host, guest, err := r.pair(port, 2000)
	if err == nil {
		take(host)
	}
	return guest, err
}
