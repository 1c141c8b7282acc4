package actors

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"google.golang.org/protobuf/proto"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/fsm"
	"github.com/arcboxlabs/arcbox-engine/journal"
)

// historian is the actor "journal": it answers questions about history. It
// only reads; appends go straight to the journal.
type historian struct {
	*shared
	followers map[string]*follower // by the follower's PID
	waiting   bool                 // somebody waits for the journal to grow
	reading   int                  // answers that are being read
}

// follower gets records as they become durable, as many as it has credit for.
type follower struct {
	pid    *actor.PID
	query  journal.Query
	credit uint64
}

type (
	grown    struct{}
	answered struct {
		to  *actor.PID
		out any
	}
)

// Bounds of one answer and of one client.
const (
	maxRecords   = 1000
	maxBatch     = 256
	maxCredit    = 4096
	maxFollowers = 256
	maxReading   = 64
)

// Receive implements actor.Actor.
func (h *historian) Receive(ctx actor.Context) {
	defer func() {
		if r := recover(); r != nil {
			h.Fatal(fmt.Errorf("journal's actor: %v\n%s", r, debug.Stack()))
		}
	}()
	switch msg := ctx.Message().(type) {
	case *wire.QueryJournal:
		if msg.GetForward() {
			h.aside(ctx, msg)
		} else {
			h.reply(ctx, orRefused(query(h.shared, msg)))
		}
	case *wire.WhyMachine:
		h.reply(ctx, orRefused(why(h.shared, msg.GetName())))
	case *wire.VerifyJournal, *wire.MachinesAt, *wire.BackupJournal, *wire.DrawTimeline, *wire.CountJournal:
		h.aside(ctx, msg.(proto.Message))
	case answered:
		h.reading--
		h.send(msg.to, msg.out)
	case *wire.Follow:
		h.follow(ctx, msg)
	case *wire.Grant:
		if f := h.followers[key(ctx.Sender())]; f != nil {
			f.credit = min(f.credit+msg.GetCredit(), maxCredit)
			h.feed(f)
		}
	case *wire.Unfollow:
		delete(h.followers, key(ctx.Sender()))
	case *wire.ClientGone:
		for k, f := range h.followers {
			if f.pid.Address == msg.Address {
				delete(h.followers, k)
			}
		}
	case grown:
		h.waiting = false
		h.feedAll(ctx)
	}
}

func key(pid *actor.PID) string {
	if pid == nil {
		return ""
	}
	return pid.Address + "/" + pid.Id
}

func (h *historian) reply(ctx actor.Context, msg any) {
	if ctx.Sender() != nil {
		ctx.Send(ctx.Sender(), msg)
	}
}

func orRefused(msg any, err error) any {
	if err != nil {
		return refused(err, nil)
	}
	return msg
}

// queryOf turns the wire's query into the journal's; a name means every
// machine that ever had it, of which the newest is taken.
func queryOf(s *shared, q *wire.QueryJournal) (journal.Query, error) {
	out := journal.Query{After: q.GetAfter(), Limit: int(q.GetLimit())}
	if q.GetSinceUnixNanos() != 0 {
		out.Since = time.Unix(0, q.GetSinceUnixNanos())
	}
	for _, k := range q.GetKinds() {
		if fsm.NewFact(fsm.Kind(k)) == nil {
			return out, &Refusal{Code: wire.Code_CODE_BAD_INPUT, Field: "kind", Hint: "arcbox journal --help",
				Message: fmt.Sprintf("kind %q: there is no such record", clip(k, 40))}
		}
		out.Kinds = append(out.Kinds, fsm.Kind(k))
	}
	if q.GetMachine() != "" {
		m, err := anyMachine(s, q.GetMachine())
		if err != nil {
			return out, err
		}
		out.Machine = m.ID
	}
	return out, nil
}

// anyMachine finds a machine by name or id, removed ones too.
func anyMachine(s *shared, name string) (*Seen, error) {
	if m, ok := s.view.Named(name); ok {
		return m, nil
	}
	if m, ok := s.view.ByID(name); ok {
		return m, nil
	}
	old, err := s.Journal.ByName(name)
	if err != nil {
		return nil, fmt.Errorf("find %q: %w", name, err)
	}
	if len(old) > 0 {
		return &Seen{Machine: old[len(old)-1]}, nil
	}
	if m, ok := s.Journal.Machine(name); ok {
		return &Seen{Machine: m}, nil
	}
	return nil, refuse(wire.Code_CODE_NOT_FOUND, "arcbox journal", "no machine was ever named %q", clip(name, 80))
}

func query(s *shared, msg *wire.QueryJournal) (any, error) {
	q, err := queryOf(s, msg)
	if err != nil {
		return nil, err
	}
	if q.Limit <= 0 || q.Limit > maxRecords {
		q.Limit = maxRecords
	}
	q.Newest = msg.GetAfter() == 0 && !msg.GetForward()
	last := s.Journal.Last()
	entries, err := s.Journal.Query(q)
	if err != nil {
		return nil, fmt.Errorf("query: %w", err)
	}
	out, size := &wire.Records{Last: last, More: len(entries) == q.Limit}, 0
	then := namesThen{s, map[string]called{}}
	for i, e := range entries {
		r := then.recordOnWire(e)
		out.Records = append(out.Records, r)
		if size += proto.Size(r); msg.GetForward() && size >= pageBytes && i < len(entries)-1 {
			out.More = true // who asks goes on behind the last one
			break
		}
	}
	return out, nil
}

// aside has a question answered that takes its time, two of them at once; the
// actor goes on meanwhile.
func (h *historian) aside(ctx actor.Context, msg proto.Message) {
	self, to := ctx.Self(), ctx.Sender()
	if h.reading >= maxReading {
		h.reply(ctx, refused(refuse(wire.Code_CODE_UNAVAILABLE, "arcbox engine status", "%d questions are being answered from the journal: try again", h.reading), nil))
		return
	}
	h.reading++
	go func() {
		defer func() {
			if r := recover(); r != nil {
				h.Fatal(fmt.Errorf("journal's actor: %v\n%s", r, debug.Stack()))
			}
		}()
		select {
		case h.reads <- struct{}{}:
			defer func() { <-h.reads }()
		case <-h.life.Done():
		}
		h.send(self, answered{to, orRefused(answer(h.life, h.shared, msg))})
	}()
}

// answer answers a question that takes its time.
func answer(ctx context.Context, s *shared, msg proto.Message) (any, error) {
	switch q := msg.(type) {
	case *wire.VerifyJournal:
		r, err := s.Journal.Verify(ctx)
		if err != nil {
			return nil, fmt.Errorf("verify: %w", err)
		}
		return reportOnWire(r), nil
	case *wire.MachinesAt:
		return past(s, q)
	case *wire.QueryJournal:
		return query(s, q)
	case *wire.DrawTimeline:
		return timeline(ctx, s, q)
	case *wire.CountJournal:
		return stats(ctx, s, q)
	case *wire.BackupJournal:
		return backup(ctx, s, q.GetDir())
	}
	return nil, refuse(wire.Code_CODE_BAD_INPUT, "arcbox journal --help", "nobody answers a %T", msg)
}

func reportOnWire(r journal.Report) *wire.Verified {
	out := &wire.Verified{Ok: len(r.Faults) == 0, First: r.First, Last: r.Last, Records: r.Records}
	for _, f := range r.Faults {
		out.Faults = append(out.Faults, &wire.Fault{Seq: f.Seq, What: f.What, Machine: f.Machine})
	}
	return out
}

func (h *historian) follow(ctx actor.Context, msg *wire.Follow) {
	q, err := queryOf(h.shared, msg.GetQuery())
	if err == nil && len(h.followers) >= maxFollowers {
		err = refuse(wire.Code_CODE_UNAVAILABLE, "arcbox journal export --since SEQ, again from time to time", "%d clients follow the journal: no more are served", maxFollowers)
	}
	if err != nil {
		h.reply(ctx, refused(err, nil))
		return
	}
	q.Limit = 0
	f := &follower{pid: ctx.Sender(), query: q, credit: min(msg.GetCredit(), maxCredit)}
	h.followers[key(f.pid)] = f
	h.send(f.pid, &wire.Followed{Last: h.Journal.Last()}) // it is heard
	h.feed(f)
	h.await(ctx)
}

// await posts grown when the journal has grown, once, while anybody follows.
func (h *historian) await(ctx actor.Context) {
	if h.waiting || len(h.followers) == 0 {
		return
	}
	h.waiting = true
	changed, self, life := h.Journal.Changed(), ctx.Self(), h.life
	for _, f := range h.followers { // what came before Changed was asked for
		h.feed(f)
	}
	go func() {
		select {
		case <-changed:
			h.send(self, grown{})
		case <-life.Done():
		}
	}()
}

func (h *historian) feedAll(ctx actor.Context) { h.await(ctx) }

// feed sends what a follower has credit for.
func (h *historian) feed(f *follower) {
	for f.credit > 0 {
		q := f.query
		q.Limit = int(min(f.credit, maxBatch))
		last := h.Journal.Last()
		entries, err := h.Journal.Query(q)
		if err != nil {
			h.send(f.pid, refused(fmt.Errorf("follow: %w", err), nil))
			delete(h.followers, key(f.pid))
			return
		}
		if len(entries) == 0 {
			f.query.After = max(f.query.After, last)
			return
		}
		out, then := &wire.Followed{Last: last}, namesThen{h.shared, map[string]called{}}
		for _, e := range entries {
			out.Records = append(out.Records, then.recordOnWire(e))
		}
		f.query.After = entries[len(entries)-1].Seq
		f.credit -= uint64(len(entries))
		h.send(f.pid, out)
	}
}

// recordOnWire is one record as clients see it, with the machine's name where
// it is known.
func (n namesThen) recordOnWire(e journal.Entry) *wire.Record {
	out := &wire.Record{
		Seq: e.Seq, UnixNanos: nanos(e.Time), Machine: e.Machine, Name: e.Name, Kind: string(e.Kind), To: string(e.To),
		Cid: e.CID, Principal: e.Principal, Reason: string(e.Reason), Request: e.Request, Launch: e.Launch,
	}
	if out.Name == "" && e.Machine != "" {
		if m, ok := n.view.ByID(e.Machine); ok {
			out.Name = n.at(m.Machine, e.Seq)
		} else if m, ok := n.Journal.Machine(e.Machine); ok {
			out.Name = n.at(m, e.Seq)
		}
	}
	if e.Unreadable != nil {
		out.Unreadable = e.Unreadable.Error()
		return out
	}
	b, err := json.Marshal(e.Fact)
	if err != nil {
		out.Unreadable = err.Error()
		return out
	}
	out.FactJson = b
	return out
}
