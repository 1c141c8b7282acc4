package guest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// Probe is how often a guest is asked whether it is ready. The zero value
// stands for the defaults.
type Probe struct {
	First  time.Duration // before the first attempt: 0, at once
	Step   time.Duration // before the second: 50 ms
	Factor float64       // from one wait to the next: 1.5
	Most   time.Duration // longest wait: 500 ms
	// Each bounds one attempt: 2 s. An attempt that used it up is given twice
	// as long the next time, up to eight times: a host that is short of CPU
	// must not be asked again and again too early.
	Each time.Duration
}

func (p Probe) withDefaults() Probe {
	if p.Step <= 0 {
		p.Step = 50 * time.Millisecond
	}
	if p.Factor < 1 {
		p.Factor = 1.5
	}
	if p.Most <= 0 {
		p.Most = 500 * time.Millisecond
	}
	if p.Each <= 0 {
		p.Each = 2 * time.Second
	}
	return p
}

// NotReadyError is an agent that did not answer until ctx was over.
type NotReadyError struct {
	Err  error // why ctx is over
	Last error // what the last attempt that was answered at all was told; nil = none was
}

// Error says it in one line.
func (e *NotReadyError) Error() string {
	if e.Last == nil {
		return fmt.Sprintf("guest agent: nobody answered: %v", e.Err)
	}
	return fmt.Sprintf("guest agent: %v: %v", e.Err, e.Last)
}

// Unwrap gives both.
func (e *NotReadyError) Unwrap() []error {
	if e.Last == nil {
		return []error{e.Err}
	}
	return []error{e.Err, e.Last}
}

// AwaitReady asks until the agent answers or ctx is over, which is a
// *NotReadyError. An agent that can't be talked to at all ends the wait at
// once.
func AwaitReady(ctx context.Context, dial Dialer, p Probe) (*wire.HelloReply, error) {
	p = p.withDefaults()
	each, wait := p.Each, p.Step
	err := sleep(ctx, p.First)
	var last error
	for err == nil {
		hello, late, asked := ask(ctx, dial, each)
		switch {
		case asked == nil:
			return hello, nil
		case errors.Is(asked, ErrProtocol):
			return nil, asked
		case late:
			each = min(2*each, 8*p.Each)
		case ctx.Err() == nil && !errors.Is(asked, context.DeadlineExceeded): // a try cut short tells nothing of the guest
			last = asked
		}
		err = sleep(ctx, wait)
		wait = min(time.Duration(float64(wait)*p.Factor), p.Most)
	}
	return nil, &NotReadyError{Err: err, Last: last}
}

// ask makes one attempt, and says whether it ran out of time.
func ask(ctx context.Context, dial Dialer, each time.Duration) (_ *wire.HelloReply, late bool, _ error) {
	ctx, cancel := context.WithTimeout(ctx, each)
	defer cancel()
	c, err := Connect(ctx, dial)
	if err != nil {
		return nil, errors.Is(ctx.Err(), context.DeadlineExceeded), err
	}
	return c.Hello(), false, c.Close()
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return context.Cause(ctx)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
