package vmhost

import (
	"sync"

	"github.com/arcboxlabs/arcbox-engine/hv"
	"github.com/arcboxlabs/arcbox-engine/hv/vmhost/api"
)

// keptEvents is how many events a late reader still gets. A guest can make
// events without end; the gap shows in their seq.
const keptEvents = 256

// eventLog is what the VM said, for any number of readers.
type eventLog struct {
	mu   sync.Mutex
	kept []api.Event
	last uint64
	more chan struct{} // closed and replaced at each event
}

func newEventLog() *eventLog { return &eventLog{more: make(chan struct{})} }

func (l *eventLog) add(e hv.Event) {
	e.Why = api.Clip(e.Why)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last++
	if len(l.kept) == keptEvents {
		l.kept = append(l.kept[:0], l.kept[1:]...)
	}
	l.kept = append(l.kept, api.Event{Seq: l.last, Event: e})
	close(l.more)
	l.more = make(chan struct{})
}

// after returns the events with a seq above n, and a channel that closes when
// there are more.
func (l *eventLog) after(n uint64) ([]api.Event, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []api.Event
	for _, e := range l.kept {
		if e.Seq > n {
			out = append(out, e)
		}
	}
	return out, l.more
}

func (l *eventLog) seq() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}
