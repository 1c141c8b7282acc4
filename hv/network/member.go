package network

import (
	"context"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// keptDenials is how many of a machine's denials are kept.
const keptDenials = 16

// Denial is one place that a machine was not let to.
type Denial struct {
	Protocol string         `json:"protocol"` // tcp, udp, icmp, dns
	To       netip.AddrPort `json:"to,omitzero"`
	Name     string         `json:"name,omitempty"` // of a question
	Time     time.Time      `json:"time"`
}

// Stats are what a machine's port has seen since the machine was first set.
type Stats struct {
	Linked      bool     `json:"linked"`   // there is a connection to the VM
	Sent        uint64   `json:"sent"`     // bytes from the guest
	Received    uint64   `json:"received"` // bytes to the guest
	Dropped     uint64   `json:"dropped"`  // frames that the guest was too slow for
	Foreign     uint64   `json:"foreign"`  // frames that were not the guest's to send
	Denied      uint64   `json:"denied"`
	Denials     []Denial `json:"denials,omitempty"` // the first of the policy, each place once
	Connections int      `json:"connections"`       // to the outside, TCP and UDP
}

// member is a machine of the network.
type member struct {
	config  atomic.Pointer[Machine]
	port    atomic.Pointer[port]
	parent  context.Context
	changed func(machine string)
	flows   flows
	conns   chan struct{} // one token a TCP connection to the outside
	asks    chan struct{} // one token a question to a name server
	talks   Talks
	sent    atomic.Uint64
	got     atomic.Uint64
	dropped atomic.Uint64
	foreign atomic.Uint64

	mu      sync.Mutex
	left    bool
	open    context.Context // of what it has open to the outside
	shut    context.CancelFunc
	denied  uint64
	denials []Denial
}

func newMember(life context.Context, changed func(machine string)) *member {
	m := &member{parent: life, changed: changed, conns: make(chan struct{}, maxConns), asks: make(chan struct{}, maxOwnAsks)}
	m.open, m.shut = context.WithCancel(life)
	return m
}

// is what the machine is now.
func (m *member) is() Machine { return *m.config.Load() }

// become changes what it is. What it has open ends where the policy changes.
func (m *member) become(now Machine) {
	was := m.config.Swap(&now)
	if was == nil || was.Egress.Equal(now.Egress) {
		return
	}
	m.mu.Lock()
	shut := m.shut
	m.open, m.shut = context.WithCancel(m.parent)
	m.denials = nil // of the policy before
	m.mu.Unlock()
	shut()
	m.flows.clear()
}

// opened is the life of what it opens to the outside.
func (m *member) opened() context.Context {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.open
}

// plug makes p its port in place of the one before.
func (m *member) plug(p *port) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.left {
		return false
	}
	if old := m.port.Swap(p); old != nil {
		old.close()
	}
	m.changed(m.is().ID)
	return true
}

func (m *member) unplug(p *port) {
	if m.port.CompareAndSwap(p, nil) {
		m.changed(m.is().ID)
	}
}

// gone ends all that it has.
func (m *member) gone() {
	m.mu.Lock()
	m.left = true
	shut := m.shut
	m.mu.Unlock()
	shut()
	if p := m.port.Load(); p != nil {
		p.close()
	}
}

// deliver sends a frame to the guest, if it is there.
func (m *member) deliver(f *frame) {
	p := m.port.Load()
	if p == nil {
		f.free()
		return
	}
	size := uint64(len(f.data()))
	if p.send(f) {
		m.got.Add(size)
	} else {
		m.dropped.Add(1)
	}
}

// deny counts, and keeps the first.
func (m *member) deny(d Denial) {
	d.Time = time.Now().UTC()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.denied++
	m.changed(m.is().ID)
	if len(m.denials) >= keptDenials {
		return
	}
	for _, old := range m.denials {
		if old.Protocol == d.Protocol && old.To == d.To && old.Name == d.Name {
			return
		}
	}
	m.denials = append(m.denials, d)
}

func (m *member) stats() Stats {
	m.mu.Lock()
	defer m.mu.Unlock()
	return Stats{
		Linked: m.port.Load() != nil, Sent: m.sent.Load(), Received: m.got.Load(),
		Dropped: m.dropped.Load(), Foreign: m.foreign.Load(),
		Denied: m.denied, Denials: append([]Denial(nil), m.denials...), Connections: len(m.conns) + m.talks.count(),
	}
}

// nameKey is what names are compared by.
func nameKey(name string) string { return strings.ToLower(name) }
