package endpoint

import "sync"

// Costs of what is held beside its own bytes.
const (
	requestCost = 512
	answerCost  = 256
)

// budget bounds the bytes that all streams together make the engine hold:
// requests that have no answer yet, and answers that were not read. Where it is
// overdrawn, the stream that holds the most has to go, so that one greedy
// client never costs another its place.
type budget struct {
	mu    sync.Mutex
	most  int64
	held  int64
	links map[*link]int64
}

func newBudget(most int64) *budget { return &budget{most: most, links: map[*link]int64{}} }

// open begins a stream's account.
func (b *budget) open(l *link) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.links[l] = 0
}

// close ends a stream's account, and frees what it holds.
func (b *budget) close(l *link) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held -= b.links[l]
	delete(b.links, l)
}

// add changes what a stream holds. It returns the stream that has to go, whose
// account is closed; nil where nobody has to.
func (b *budget) add(l *link, n int64) *link {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, open := b.links[l]; !open {
		return nil
	}
	b.links[l] += n
	b.held += n
	if b.held <= b.most {
		return nil
	}
	greedy := l
	for other, n := range b.links {
		if n > b.links[greedy] {
			greedy = other
		}
	}
	b.held -= b.links[greedy]
	delete(b.links, greedy)
	return greedy
}
