package client

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"reflect"
	"sync"
	"time"

	"github.com/arcboxlabs/arcbox-engine/hv/network/api"
	vmclient "github.com/arcboxlabs/arcbox-engine/hv/vmhost/client"
)

// Options says where things are.
type Options struct {
	Bin    string // path of arcbox-netd
	Dir    string // of its lock and its logs
	RunDir string // of its socket
	Log    *slog.Logger
	// Changed is told of a machine whose state has changed. It must not wait.
	Changed func(id string, s State)
}

// State is how a machine's network does, as far as is known.
type State struct {
	api.State
	Trouble string // why nothing is known, or what was set is not so; "" = all is well
}

// Network is the one of an engine. Its methods may be called from any goroutine.
type Network struct {
	o     Options
	place vmclient.Place

	mu      sync.Mutex
	wanted  map[string]api.Machine
	states  map[string]State
	news    map[string]bool // ids that the process was not told of yet; true = of their end, whatever came behind
	trouble string          // of the process
	unsure  bool            // a process may be there that was not told of all
	poke    chan struct{}   // one token: something is wanted otherwise
}

// New makes a network that nobody runs yet.
func New(o Options) *Network {
	if o.Changed == nil {
		o.Changed = func(string, State) {}
	}
	return &Network{
		o: o, place: vmclient.Place{Dir: o.Dir, RunDir: o.RunDir}, poke: make(chan struct{}, 1),
		unsure: true, wanted: map[string]api.Machine{}, states: map[string]State{}, news: map[string]bool{},
	}
}

// Set wants a machine to belong to the network as m says.
func (n *Network) Set(m api.Machine) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if old, ok := n.wanted[m.ID]; ok && reflect.DeepEqual(old, m) {
		return
	}
	n.wanted[m.ID] = m
	if s, ok := n.states[m.ID]; ok {
		s.Egress = "" // the process has to say it anew
		n.states[m.ID] = s
	}
	n.changed(m.ID, false)
}

// Drop wants a machine not to belong to the network.
func (n *Network) Drop(id string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, ok := n.wanted[id]; !ok {
		return
	}
	delete(n.wanted, id)
	delete(n.states, id)
	n.changed(id, true)
}

// changed is for Set and Drop. n.mu is held.
func (n *Network) changed(id string, end bool) {
	n.news[id] = n.news[id] || end
	select {
	case n.poke <- struct{}{}:
	default:
	}
}

// State is what was last heard of a machine.
func (n *Network) State(id string) (State, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, ok := n.wanted[id]; !ok {
		return State{}, false
	}
	s := n.states[id]
	if n.trouble != "" {
		s.Trouble = n.trouble
	}
	return s, true
}

// How often a process that does not live is started again.
const (
	againFirst = 50 * time.Millisecond
	againMost  = 5 * time.Second
	lively     = 5 * time.Second // who lived as long is started at once
)

// Run keeps a process as long as it is needed, until ctx is over. The process
// lives on.
func (n *Network) Run(ctx context.Context) {
	pause := time.Duration(0)
	for n.needed(ctx) {
		begun := time.Now()
		err := n.run(ctx)
		if ctx.Err() != nil {
			return
		}
		if n.empty() {
			continue // it ended because nobody needs it
		}
		n.down(err)
		if time.Since(begun) > lively {
			pause = 0
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		pause = min(max(2*pause, againFirst), againMost)
	}
}

// needed waits until a machine belongs to the network, or a process that may be
// there has to be told that none does; false = ctx is over.
func (n *Network) needed(ctx context.Context) bool {
	for n.settled() {
		select {
		case <-n.poke:
		case <-ctx.Done():
			return false
		}
	}
	return ctx.Err() == nil
}

func (n *Network) settled() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.wanted) == 0 && !n.unsure
}

func (n *Network) doubt(unsure bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.unsure = unsure
}

func (n *Network) empty() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.wanted) == 0
}

// run finds or starts a process, and talks to it until one of both ends.
func (n *Network) run(ctx context.Context) error {
	s, err := n.find(ctx)
	n.doubt(err == nil)
	if err != nil {
		return err
	}
	defer func() { _ = s.conn.Close() }()
	return n.talk(ctx, s)
}

// down tells of a process that ended.
func (n *Network) down(err error) {
	why := "its network process ended; another is started"
	if err != nil && !errors.Is(err, errEnded) {
		why = "its network process can't be had: " + err.Error()
	}
	n.o.Log.Warn("network process", "err", err)
	n.mu.Lock()
	n.trouble = why
	clear(n.states)
	var all []string
	for id := range n.wanted {
		all = append(all, id)
	}
	n.mu.Unlock()
	n.tell(all)
}

// up forgets what was wrong with the process.
func (n *Network) up() {
	n.mu.Lock()
	n.trouble = ""
	n.mu.Unlock()
}

// tell tells of machines' states.
func (n *Network) tell(ids []string) {
	for _, id := range ids {
		if s, ok := n.State(id); ok {
			n.o.Changed(id, s)
		}
	}
}

// prepare makes the directories of the process.
func (n *Network) prepare() error {
	for _, dir := range []string{n.o.Dir, n.o.RunDir} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	return nil
}
