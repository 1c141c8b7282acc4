package client

import (
	"context"
	"fmt"
	"time"
)

// Option says how long who is cut off from an engine waits for the next one.
type Option func(*absence)

// GiveUpAfter has no more than d pass without an engine: the error is then ErrAway.
// Without it one is waited for until ctx is over.
func GiveUpAfter(d time.Duration) Option { return func(a *absence) { a.most = d } }

// TellAfter has tell called where no engine answers for so long, once each time
// that one is gone, by a goroutine of its own.
func TellAfter(d time.Duration, tell func()) Option {
	return func(a *absence) { a.soon, a.tell = d, tell }
}

// absence is the time between two engines, as it is for who waits.
type absence struct {
	most time.Duration // 0 = no bound
	soon time.Duration
	tell func() // nil = nobody
}

func absent(opts []Option) absence {
	var a absence
	for _, o := range opts {
		o(&a)
	}
	return a
}

// redial tries until an engine answers, or says no, or ctx or patience is over.
func (a absence) redial(ctx context.Context, door Door, b *backoff) (*Client, error) {
	if a.tell != nil {
		defer time.AfterFunc(a.soon, a.tell).Stop()
	}
	if a.most > 0 {
		bounded, cancel := context.WithTimeoutCause(ctx, a.most, fmt.Errorf("%w within %s", ErrAway, a.most))
		defer cancel()
		ctx = bounded
	}
	return redial(ctx, door, b)
}
