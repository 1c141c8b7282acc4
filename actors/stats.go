package actors

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/fsm"
	"github.com/arcboxlabs/arcbox-engine/journal"
)

// maxTallies is how many machines one answer tells of.
const maxTallies = 10_000

// stats counts the records since a time.
func stats(ctx context.Context, s *shared, q *wire.CountJournal) (proto.Message, error) {
	c := &count{
		out: &wire.JournalStats{Kinds: map[string]uint64{}}, now: s.Clock.Now(), since: time.Unix(0, q.GetSinceUnixNanos()),
		machines: map[string]*tally{},
	}
	first := uint64(1)
	if q.GetSinceUnixNanos() != 0 {
		seq, err := s.Journal.SeqAt(c.since)
		if err != nil {
			return nil, err
		}
		p, err := s.Journal.At(seq)
		if err != nil {
			return nil, fmt.Errorf("stats: %w", err)
		}
		for _, m := range p.Machines {
			c.at(m.ID).enter(m.Name, m.State, c.since)
		}
		first = seq + 1
	}
	last := s.Journal.Last()
	if err := s.Journal.Scan(ctx, first, last, nil, c.record); err != nil {
		return nil, fmt.Errorf("stats: %w", err)
	}
	disk, err := s.Journal.DiskBytes()
	if err != nil {
		return nil, fmt.Errorf("stats: %w", err)
	}
	c.out.DiskBytes = disk
	return c.answer(), nil
}

// count is the figures so far.
type count struct {
	out        *wire.JournalStats
	now, since time.Time
	machines   map[string]*tally
	starts     []time.Duration
}

// tally is the figures of one machine.
type tally struct {
	name    string
	records uint64
	state   fsm.State
	since   time.Time // in the state
	in      map[fsm.State]time.Duration
	asked   time.Time // for the start under way
	starts  []time.Duration
}

func (c *count) at(id string) *tally {
	t := c.machines[id]
	if t == nil {
		t = &tally{in: map[fsm.State]time.Duration{}}
		c.machines[id] = t
	}
	return t
}

// enter ends a state, and begins the next one. A clock that was set back takes
// nothing away.
func (t *tally) enter(name string, state fsm.State, at time.Time) {
	if t.state != fsm.None {
		t.in[t.state] += max(0, at.Sub(t.since))
	}
	if name != "" {
		t.name = name
	}
	t.state, t.since = state, at
}

func (c *count) record(e journal.Entry) error {
	o := c.out
	if e.Unreadable != nil {
		o.Unreadable++
		return nil
	}
	o.Records++
	o.RecordBytes += uint64(e.Size) //nolint:gosec // a length
	if o.First == 0 {
		o.First, o.FirstUnixNanos = e.Seq, nanos(e.Time)
	}
	o.Last, o.LastUnixNanos = e.Seq, nanos(e.Time)
	o.Kinds[string(e.Kind)]++
	if ago := c.now.Sub(e.Time); ago <= 24*time.Hour {
		o.LastDay++
		if ago <= time.Hour {
			o.LastHour++
		}
	}
	if e.Machine != "" {
		c.machine(c.at(e.Machine), e)
	}
	return nil
}

func (c *count) machine(t *tally, e journal.Entry) {
	t.records++
	if !fsm.Moves(e.Kind) {
		return
	}
	t.enter(e.Name, e.To, e.Time)
	switch e.Kind { //nolint:exhaustive // the others are of no start
	case fsm.KindStartRequested:
		t.asked = e.Time
	case fsm.KindReady:
		if took := e.Time.Sub(t.asked); !t.asked.IsZero() && took >= 0 {
			t.starts, c.starts = append(t.starts, took), append(c.starts, took)
		}
		t.asked = time.Time{}
	case fsm.KindExited, fsm.KindRepaired:
		if !t.asked.IsZero() {
			c.out.FailedStarts++
		}
		t.asked = time.Time{}
	}
}

func (c *count) answer() *wire.JournalStats {
	o := c.out
	o.Starts = uint64(len(c.starts))
	if len(c.starts) > 0 {
		slices.Sort(c.starts)
		for _, p := range []float64{0.5, 0.9, 0.99, 1} {
			o.StartsP = append(o.StartsP, int64(percentile(c.starts, p)))
		}
	}
	for id, t := range c.machines {
		t.enter("", t.state, c.now)
		if t.state == fsm.Removed {
			o.Removed++
			continue
		}
		o.Machines = append(o.Machines, t.onWire(id))
	}
	slices.SortFunc(o.Machines, func(a, b *wire.Tally) int { return strings.Compare(nameKey(a.Name), nameKey(b.Name)) })
	if len(o.Machines) > maxTallies {
		o.Machines, o.More = o.Machines[:maxTallies], true
	}
	return o
}

func (t *tally) onWire(id string) *wire.Tally {
	out := &wire.Tally{Machine: id, Name: t.name, Records: t.records, Nanos: map[string]int64{}, Starts: uint64(len(t.starts))}
	for state, d := range t.in {
		out.Nanos[string(state)] = int64(d)
	}
	if len(t.starts) > 0 {
		slices.Sort(t.starts)
		out.StartP50, out.StartP99 = int64(percentile(t.starts, 0.5)), int64(percentile(t.starts, 0.99))
	}
	return out
}

// percentile is the smallest of sorted figures that so large a part is not above.
func percentile(sorted []time.Duration, p float64) time.Duration {
	n := int(float64(len(sorted))*p+0.999999) - 1
	return sorted[min(max(n, 0), len(sorted)-1)]
}
