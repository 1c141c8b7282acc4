package linear

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/arcboxlabs/arcbox-engine/actors/client"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

// Client types random commands at an engine. Its connection is its own, and is
// made anew whenever it is lost.
type Client struct {
	N      int
	Socket string
	Dice   *rand.Rand
	Now    func() int64                // one clock for all clients
	Pick   func(*rand.Rand) string     // a name
	Spec   func(*rand.Rand) *wire.Spec // of a create
	Note   func(Op)                    // takes what was done
	Wait   time.Duration               // for an answer; then it is Mute

	conn *client.Client
	sent int
	to   string // of the rename under way
}

// weights says how often each verb is typed.
var weights = []struct {
	verb Verb
	n    int
}{{Create, 5}, {Start, 5}, {Stop, 3}, {Restart, 2}, {Remove, 2}, {Force, 2}, {Leave, 3}, {Inspect, 4}, {List, 3}}

func (c *Client) verb() Verb {
	sum := 0
	for _, w := range weights {
		sum += w.n
	}
	at := c.Dice.IntN(sum)
	for _, w := range weights {
		if at -= w.n; at < 0 {
			return w.verb
		}
	}
	panic("weights")
}

// Run types as many commands as wanted, or until ctx is over.
func (c *Client) Run(ctx context.Context, many int) {
	defer c.Close()
	for range many {
		if ctx.Err() != nil {
			return
		}
		name := c.Pick(c.Dice)
		if c.Dice.IntN(4) == 0 {
			name = strings.ToUpper(name) // names are compared without case
		}
		c.Do(ctx, c.verb(), name)
	}
}

// Close ends the connection.
func (c *Client) Close() {
	if c.conn != nil {
		_ = c.conn.Close() // what counts is noted
		c.conn = nil
	}
}

// Do types one command and notes what came of it. One in eight is cut off, one
// in two that was cut off is sent again until it is answered, one in eight that
// was answered is sent again.
func (c *Client) Do(ctx context.Context, v Verb, name string) Op {
	o := Op{Client: c.N, Verb: v, Name: name, Outcome: Unknown}
	msg := c.message(&o)
	cut, faithful := c.Dice.IntN(8) == 0, c.Dice.IntN(2) == 0
	ctx, cancel := context.WithTimeout(ctx, c.Wait)
	defer cancel()
	o.Call = c.Now()
	limited, stop := ctx, context.CancelFunc(func() {})
	if cut {
		limited, stop = context.WithTimeout(ctx, time.Duration(c.Dice.IntN(8))*time.Millisecond)
	}
	err := c.ask(limited, &o, msg)
	stop()
	if err != nil && cut {
		c.Close()
	}
	for err != nil && faithful && o.Request != "" && ctx.Err() == nil {
		err = c.ask(ctx, &o, msg)
	}
	o.Return = c.Now()
	if err != nil {
		o.Text = err.Error()
		c.Close()
	}
	if o.Tries == 0 {
		return o // it never went out
	}
	c.note(o)
	if o.Outcome == Done && o.Request != "" && c.Dice.IntN(8) == 0 {
		c.repeat(ctx, o, msg)
	}
	return o
}

// note notes what was done. A rename is noted for either name.
func (c *Client) note(o Op) {
	c.Note(o)
	if o.Verb == Leave {
		o.Verb, o.Name = Arrive, c.to
		c.Note(o)
	}
}

// repeat sends a request again that was answered.
func (c *Client) repeat(ctx context.Context, o Op, msg proto.Message) {
	c.Close() // the engine knows it by its id, from wherever it comes
	again := Op{Client: c.N, Verb: Repeat, Of: o.Verb, Name: o.Name, Request: o.Request, Outcome: Unknown, Call: c.Now()}
	if err := c.ask(ctx, &again, msg); err != nil {
		again.Text = err.Error()
		c.Close()
	}
	again.Return = c.Now()
	if again.Tries > 0 {
		c.Note(again)
	}
}

func (c *Client) message(o *Op) proto.Message {
	if o.Verb != Inspect && o.Verb != List {
		c.sent++
		o.Request = fmt.Sprintf("%08x-0000-4000-8000-%012x", c.Dice.Uint32(), c.N<<20|c.sent)
	}
	r := &wire.Request{Id: o.Request}
	const long = int64(time.Hour)
	switch o.Verb {
	case Create:
		return &wire.CreateMachine{Request: r, Name: o.Name, Spec: c.Spec(c.Dice)}
	case Start:
		return &wire.StartMachine{Request: r, Name: o.Name, TimeoutNanos: long}
	case Stop:
		return &wire.StopMachine{Request: r, Name: o.Name, Kill: c.Dice.IntN(2) == 0}
	case Restart:
		return &wire.RestartMachine{Request: r, Name: o.Name, Kill: c.Dice.IntN(2) == 0, StartTimeoutNanos: long}
	case Remove, Force:
		return &wire.RemoveMachine{Request: r, Name: o.Name, Force: o.Verb == Force}
	case Leave:
		for c.to = o.Name; key(c.to) == key(o.Name); {
			c.to = c.Pick(c.Dice)
		}
		return &wire.RenameMachine{Request: r, Name: o.Name, NewName: c.to}
	case Inspect:
		return &wire.InspectMachine{Name: o.Name}
	case List:
		o.Name = ""
		return &wire.ListMachines{}
	}
	panic(o.Verb)
}

// redialPause is the time between two attempts to reach an engine.
const redialPause = 10 * time.Millisecond

// connect reaches the engine, however often it has to try.
func (c *Client) connect(ctx context.Context) error {
	for c.conn == nil {
		conn, err := client.Dial(ctx, client.Socket(c.Socket))
		if err == nil {
			c.conn = conn
			return nil
		}
		pause, stop := context.WithTimeout(ctx, redialPause)
		<-pause.Done()
		stop()
		if ctx.Err() != nil {
			return fmt.Errorf("no engine: %w", err)
		}
	}
	return nil
}

// ask sends once. An error means that there was no answer.
func (c *Client) ask(ctx context.Context, o *Op, msg proto.Message) error {
	if err := c.connect(ctx); err != nil {
		return err
	}
	o.Tries++
	m, err := c.conn.Ask(ctx, wire.Supervisor, msg)
	if r, ok := errors.AsType[*client.RefusedError](err); ok {
		o.Outcome, o.Code, o.Text, o.Seen.State, o.Seen.Name = Refused, r.Code, r.Message, r.State, r.Machine
		return nil
	}
	switch {
	case errors.Is(err, client.ErrDisconnected):
		c.Close()
		return err
	case err != nil:
		if c.waited(o) {
			o.Outcome = Mute
		}
		return err
	}
	o.Outcome = Done
	switch m := m.(type) {
	case *wire.Done:
		o.Seen, o.Repeated = see(m.GetMachine()), m.GetRepeated()
	case *wire.Machine:
		o.Seen = see(m)
	case *wire.Machines:
		for _, machine := range m.GetMachines() {
			o.List = append(o.List, see(machine))
		}
	default:
		return fmt.Errorf("a %T was answered with a %T", msg, m)
	}
	return nil
}

// waited tells whether all the time was over, and not that of a cut.
func (c *Client) waited(o *Op) bool { return time.Duration(c.Now()-o.Call) >= c.Wait*9/10 }
