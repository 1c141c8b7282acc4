package client

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

// credit is how many records may be on their way.
const credit = 256

// follower is one Follow, over all its connections.
type follower struct {
	query   *wire.QueryJournal
	each    func([]*wire.Record) error
	seen    uint64 // the last record that was handed over
	started bool   // an engine has taken the query
}

// Follow hands every record that matches and comes after q.After to each, in
// order, none missed and none twice, also when the engine is started anew in
// between. It ends when ctx is over, when each returns an error, when the engine
// refuses, or when none came back in time (opts); the error says which.
func (c *Client) Follow(ctx context.Context, q *wire.QueryJournal, each func([]*wire.Record) error, opts ...Option) error {
	f, away := &follower{query: proto.CloneOf(q), each: each, seen: q.GetAfter()}, absent(opts)
	cur := c
	for {
		err := f.run(ctx, cur)
		if cur != c {
			err = errors.Join(err, cur.Close())
		}
		if !errors.Is(err, ErrDisconnected) && !f.between(err) {
			return err
		}
		if cur, err = away.redial(ctx, c.door, newBackoff()); err != nil {
			return fmt.Errorf("client: follow: %w", err)
		}
	}
}

// run follows over one connection.
func (f *follower) run(ctx context.Context, c *Client) error {
	b, pid, done := c.open(credit + 16)
	defer done()
	defer c.tell(wire.Journal, pid, &wire.Unfollow{})
	f.query.After = f.seen
	c.tell(wire.Journal, pid, &wire.Follow{Query: f.query, Credit: credit})
	used := uint64(0)
	for {
		m, err := c.next(ctx, b)
		if err != nil {
			return err
		}
		part, ok := m.(*wire.Followed)
		if !ok {
			return fmt.Errorf("client: follow: answered with a %T", m)
		}
		f.started = true
		fresh := part.Records
		for len(fresh) > 0 && fresh[0].GetSeq() <= f.seen {
			fresh = fresh[1:]
		}
		if len(fresh) > 0 {
			if err := f.each(fresh); err != nil {
				return err
			}
			f.seen = fresh[len(fresh)-1].GetSeq()
			f.query.Limit = 0 // "the last so many" has been answered
		}
		if used += uint64(len(part.Records)); used >= credit/2 {
			c.tell(wire.Journal, pid, &wire.Grant{Credit: used})
			used = 0
		}
	}
}

// between reports whether an engine refused because it is going down, or just
// coming up, in the middle of a stream.
func (f *follower) between(err error) bool {
	var r *RefusedError
	return f.started && errors.As(err, &r) && r.Code == wire.Code_CODE_UNAVAILABLE
}
