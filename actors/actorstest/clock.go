package actorstest

import (
	"slices"
	"sync"
	"time"

	"github.com/arcboxlabs/arcbox-engine/actors"
	"github.com/arcboxlabs/arcbox-engine/fsm"
)

// Clock is a clock that stands still until it is told to go on. It is the
// host's, so that it outlives engines.
type Clock struct {
	mu     sync.Mutex
	wall   time.Time
	boot   string
	mono   time.Duration
	timers []*timer
	made   uint64
}

var _ actors.Clock = (*Clock)(nil)

type timer struct {
	at   time.Duration
	n    uint64 // timers of one moment fire in the order in which they were made
	fire func()
}

// NewClock makes a clock at a fixed time, in the first boot of its host.
func NewClock() *Clock {
	return &Clock{wall: time.Date(2026, 11, 25, 8, 0, 0, 0, time.UTC), boot: "boot-1", mono: time.Hour}
}

// Now implements actors.Clock.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wall
}

// Moment implements actors.Clock.
func (c *Clock) Moment() fsm.Moment {
	c.mu.Lock()
	defer c.mu.Unlock()
	return fsm.Moment{Boot: c.boot, Mono: c.mono}
}

// AfterFunc implements actors.Clock.
func (c *Clock) AfterFunc(d time.Duration, f func()) (stop func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.made++
	t := &timer{at: c.mono + max(d, 0), n: c.made, fire: f}
	if d <= 0 {
		go f()
		return func() bool { return false }
	}
	c.timers = append(c.timers, t)
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		i := slices.Index(c.timers, t)
		if i >= 0 {
			c.timers = slices.Delete(c.timers, i, i+1)
		}
		return i >= 0
	}
}

// Next is the time until the next timer fires, and whether there is one.
func (c *Clock) Next() (time.Duration, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.timers) == 0 {
		return 0, false
	}
	return c.first().at - c.mono, true
}

// first is the timer that fires next. c.mu is held.
func (c *Clock) first() *timer {
	return slices.MinFunc(c.timers, func(a, b *timer) int {
		if a.at != b.at {
			return int(a.at - b.at)
		}
		return int(a.n) - int(b.n)
	})
}

// Step goes on by d, or to the next timer where that comes first, and fires
// one timer at most. It returns the time that has passed.
func (c *Clock) Step(d time.Duration) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	var due *timer
	if len(c.timers) > 0 {
		if t := c.first(); t.at-c.mono <= d {
			due, d = t, t.at-c.mono
			c.timers = slices.DeleteFunc(c.timers, func(o *timer) bool { return o == t })
		}
	}
	c.mono += d
	c.wall = c.wall.Add(d)
	if due != nil {
		go due.fire()
	}
	return d
}

// Set moves the wall clock alone, as a person or a time server does.
func (c *Clock) Set(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall = c.wall.Add(d)
}

// clone is the same moment, without the timers, which belong to an engine. With
// reboot it is a moment of the host's next boot.
func (c *Clock) clone(reboot bool) *Clock {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := &Clock{wall: c.wall, boot: c.boot, mono: c.mono}
	if reboot {
		o.boot, o.mono, o.wall = c.boot+"+", time.Minute, c.wall.Add(time.Minute)
	}
	return o
}
