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

// Bounds of a timeline: what one answer holds.
const (
	maxLives = 1000
	maxSpans = 1000 // of one machine; the oldest are left out
)

// timeline tells through which states machines went between two times.
func timeline(ctx context.Context, s *shared, q *wire.DrawTimeline) (proto.Message, error) {
	t := &drawing{s: s, until: s.Clock.Now(), lives: map[string]*wire.Life{}}
	if q.GetUntilUnixNanos() != 0 {
		t.until = time.Unix(0, q.GetUntilUnixNanos())
	}
	t.since = time.Unix(0, q.GetSinceUnixNanos())
	if t.until.Before(t.since) {
		return nil, &Refusal{Code: wire.Code_CODE_BAD_INPUT, Field: "until", Hint: "arcbox journal timeline --help",
			Message: fmt.Sprintf("from %s until %s: it ends before it begins", t.since.UTC().Format(time.RFC3339), t.until.UTC().Format(time.RFC3339))}
	}
	for _, name := range q.GetNames() {
		if err := t.want(name); err != nil {
			return nil, err
		}
	}
	if err := t.draw(ctx); err != nil {
		return nil, fmt.Errorf("timeline: %w", err)
	}
	return t.answer(), nil
}

// drawing is one timeline under way.
type drawing struct {
	s            *shared
	since, until time.Time
	ids          []string // wanted; none = all
	lives        map[string]*wire.Life
}

// want adds every machine that ever had a name.
func (t *drawing) want(name string) error {
	ms, err := t.s.Journal.ByName(name)
	if err != nil {
		return fmt.Errorf("find %q: %w", name, err)
	}
	if len(ms) == 0 {
		m, err := anyMachine(t.s, name)
		if err != nil {
			return err
		}
		ms = []fsm.Machine{m.Machine}
	}
	for _, m := range ms {
		t.ids = append(t.ids, m.ID)
	}
	return nil
}

func (t *drawing) draw(ctx context.Context) error {
	from, err := t.s.Journal.SeqAt(t.since)
	if err != nil {
		return err
	}
	upto, err := t.s.Journal.SeqAt(t.until)
	if err != nil {
		return err
	}
	if err := t.begin(from); err != nil {
		return err
	}
	if upto < from { // the clock was set back
		upto = from
	}
	return t.s.Journal.Scan(ctx, from+1, upto, t.ids, t.record)
}

// begin notes the states that machines are in when it begins.
func (t *drawing) begin(seq uint64) error {
	if len(t.ids) > 0 {
		for _, id := range t.ids {
			m, ok, err := t.s.Journal.MachineAt(id, seq)
			if err != nil {
				return err
			}
			if ok && m.State != fsm.Removed {
				t.enter(m.ID, m.Name, m.State, causeOfState(m), t.since, m.StateAt)
			}
		}
		return nil
	}
	p, err := t.s.Journal.At(seq)
	for _, m := range p.Machines {
		t.enter(m.ID, m.Name, m.State, causeOfState(m), t.since, m.StateAt)
	}
	return err
}

func causeOfState(m fsm.Machine) fsm.Cause {
	if m.Exit != nil && !m.State.Live() {
		return m.Exit.Cause
	}
	return ""
}

// record enters the state that a record leads to. A machine goes by the last
// name that it had.
func (t *drawing) record(e journal.Entry) error {
	if e.Unreadable != nil {
		return nil
	}
	if l := t.lives[e.Machine]; e.Kind == fsm.KindRenamed && l != nil {
		l.Name = e.Name
	}
	if !fsm.Moves(e.Kind) {
		return nil
	}
	var cause fsm.Cause
	switch f := e.Fact.(type) {
	case *fsm.ExitedFact:
		cause = f.Cause
	case *fsm.RepairedFact:
		cause = f.Cause
	}
	t.enter(e.Machine, e.Name, e.To, cause, e.Time, e.Seq)
	return nil
}

// enter ends a machine's state, and begins the next one. A clock that was set
// back moves nothing back.
func (t *drawing) enter(id, name string, state fsm.State, cause fsm.Cause, at time.Time, seq uint64) {
	l := t.lives[id]
	if l == nil {
		l = &wire.Life{Machine: id, Name: name}
		t.lives[id] = l
	}
	now := min(max(at.UnixNano(), t.since.UnixNano()), t.until.UnixNano())
	if n := len(l.Spans); n > 0 {
		last := l.Spans[n-1]
		now = max(now, last.FromUnixNanos)
		last.ToUnixNanos = now
	}
	if state == fsm.Removed {
		return
	}
	if len(l.Spans) == maxSpans {
		l.Spans, l.Cut = slices.Delete(l.Spans, 0, maxSpans/2), true
	}
	l.Spans = append(l.Spans, &wire.Span{
		State: string(state), FromUnixNanos: now, ToUnixNanos: t.until.UnixNano(), Cause: string(cause), Seq: seq,
	})
}

// answer is what one reply holds of it, by name.
func (t *drawing) answer() *wire.Timeline {
	out := &wire.Timeline{SinceUnixNanos: t.since.UnixNano(), UntilUnixNanos: t.until.UnixNano()}
	for _, l := range t.lives {
		if len(l.Spans) > 0 {
			out.Lives = append(out.Lives, l)
		}
	}
	slices.SortFunc(out.Lives, func(a, b *wire.Life) int {
		if c := strings.Compare(nameKey(a.Name), nameKey(b.Name)); c != 0 {
			return c
		}
		return strings.Compare(a.Machine, b.Machine) // as they were created
	})
	size := 0
	for i, l := range out.Lives {
		if size += proto.Size(l); i == maxLives || size > wire.MaxReply/2 {
			out.Lives, out.More = out.Lives[:i], true
			break
		}
	}
	return out
}
