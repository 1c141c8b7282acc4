package vmhost

import "sync"

// lobby holds the connections whose request has not come yet. Where it is full
// the one that has been silent longest has to go: so who says nothing, however
// many they are, keeps nobody out who has something to say.
type lobby struct {
	mu      sync.Mutex
	waiting []*requester // the oldest first
}

// enter lets a connection wait for its own request.
func (l *lobby) enter(c *requester) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) == maxSilent {
		_ = l.waiting[0].UnixConn.Close() // its own goroutine does the rest
		l.waiting = append(l.waiting[:0], l.waiting[1:]...)
	}
	l.waiting = append(l.waiting, c)
}

// leave is for who has said something, or nothing in time.
func (l *lobby) leave(c *requester) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, other := range l.waiting {
		if other == c {
			l.waiting = append(l.waiting[:i], l.waiting[i+1:]...)
			return
		}
	}
}
