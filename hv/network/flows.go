package network

import (
	"net/netip"
	"sync"
	"time"
)

// What is remembered of who asked a machine that may not ask by itself.
const (
	maxFlows = 4096
	tcpIdle  = 2 * time.Hour
	idle     = 2 * time.Minute
)

// flow is one direction of a conversation.
type flow struct {
	proto    uint8
	from, to netip.AddrPort
}

func (f flow) back() flow { return flow{f.proto, f.to, f.from} }

func (f flow) idle() time.Duration {
	if f.proto == tcpProto {
		return tcpIdle
	}
	return idle
}

// flows are the conversations that others began with a machine. The zero value
// is empty.
type flows struct {
	mu    sync.Mutex
	until map[flow]time.Time
}

// note remembers that a machine may send this.
func (t *flows) note(f flow) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, known := t.until[f]; !known && len(t.until) >= maxFlows {
		for old, until := range t.until {
			if now.After(until) {
				delete(t.until, old)
			}
		}
		if len(t.until) >= maxFlows {
			return
		}
	}
	if t.until == nil {
		t.until = map[flow]time.Time{}
	}
	t.until[f] = now.Add(f.idle())
}

// known tells whether a machine was asked.
func (t *flows) known(f flow) bool {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	until, ok := t.until[f]
	if ok && now.After(until) {
		delete(t.until, f)
		return false
	}
	if ok {
		t.until[f] = now.Add(f.idle())
	}
	return ok
}

func (t *flows) clear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.until = nil
}
