package actors

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/journal"
)

// History answers the questions of the journal's actor without an engine, from
// a journal that was opened read-only, where no engine runs.
type History struct{ h *historian }

// NewHistory reads from the journal of a home. dirs says where machines lie.
func NewHistory(home string, j *journal.Journal, clock Clock, dirs Dirs) *History {
	s := &shared{Options: Options{Home: home, Journal: j, Clock: clock, Dirs: dirs}, view: NewView(), life: context.Background()}
	for _, m := range j.Machines() {
		s.view.publish(&Seen{Machine: m, Unwatched: m.State.Live()})
	}
	return &History{&historian{shared: s}}
}

// Query answers a QueryJournal.
func (h *History) Query(q *wire.QueryJournal) (*wire.Records, error) {
	out, err := query(h.h.shared, q)
	if err != nil {
		return nil, err
	}
	return out.(*wire.Records), nil
}

// Why answers a WhyMachine.
func (h *History) Why(name string) (*wire.Why, error) {
	out, err := why(h.h.shared, name)
	if err != nil {
		return nil, err
	}
	return out.(*wire.Why), nil
}

// Verify answers a VerifyJournal.
func (h *History) Verify(ctx context.Context) (*wire.Verified, error) {
	out, err := answer(ctx, h.h.shared, &wire.VerifyJournal{})
	if err != nil {
		return nil, err
	}
	return out.(*wire.Verified), nil
}

// Ask answers a question that takes its time.
func (h *History) Ask(ctx context.Context, question proto.Message) (proto.Message, error) {
	out, err := answer(ctx, h.h.shared, question)
	if err != nil {
		return nil, err
	}
	return out.(proto.Message), nil
}
