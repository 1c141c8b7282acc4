package pull

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/arcboxlabs/arcbox-engine/guest/image"
)

// flight is a pull that is under way in this process, and who waits for it.
type flight struct {
	done    chan struct{}
	cancel  context.CancelFunc
	waiters int // guarded by Sources
	meter   *meter
	got     image.Image
	err     error
}

// Pull brings an image. Where it is being pulled already, it waits for that.
// progress, which may be nil, is called from another goroutine, one call at a
// time. A pull goes on as long as somebody waits for it; when it was given up by
// all, it has cleaned up before the last of them returns.
func (s *Sources) Pull(ctx context.Context, ref image.Ref, progress func(Progress)) (image.Image, error) {
	if err := ctx.Err(); err != nil {
		return image.Image{}, fmt.Errorf("pull %s: %w", ref, err)
	}
	f := s.board(ref)
	leave := f.meter.join(progress)
	defer leave()
	select {
	case <-f.done:
	case <-ctx.Done():
		if s.leave(ref, f) {
			<-f.done
		}
		return image.Image{}, fmt.Errorf("pull %s: %w", ref, context.Cause(ctx))
	}
	if f.err != nil {
		return image.Image{}, fmt.Errorf("pull %s: %w", ref, f.err)
	}
	return f.got, nil
}

// board joins the pull of a reference, or begins it.
func (s *Sources) board(ref image.Ref) *flight {
	key := s.key(ref)
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.flights[key]; f != nil {
		f.waiters++
		return f
	}
	ctx, cancel := context.WithCancel(context.Background())
	f := &flight{done: make(chan struct{}), cancel: cancel, waiters: 1, meter: &meter{}}
	s.flights[key] = f
	go func() {
		f.got, f.err = s.pull(ctx, ref, f.meter)
		cancel()
		s.mu.Lock()
		if s.flights[key] == f {
			delete(s.flights, key)
		}
		s.mu.Unlock()
		close(f.done)
	}()
	return f
}

// leave stops waiting, and tells whether nobody else does. Such a pull ends, and
// who comes then begins another.
func (s *Sources) leave(ref image.Ref, f *flight) (last bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.waiters--; f.waiters > 0 {
		return false
	}
	if key := s.key(ref); s.flights[key] == f {
		delete(s.flights, key)
	}
	f.cancel()
	return true
}

// meter keeps how far a pull is and tells those who want to know.
type meter struct {
	mu    sync.Mutex
	last  Progress
	told  time.Time
	calls map[int]func(Progress)
	next  int
}

// meterStep is how often listeners hear of bytes.
const meterStep = 50 * time.Millisecond

// join tells a listener the last news, and from then on all. After leave it is
// not called any more.
func (m *meter) join(call func(Progress)) (leave func()) {
	if call == nil {
		return func() {}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.calls == nil {
		m.calls = map[int]func(Progress){}
	}
	id := m.next
	m.next++
	m.calls[id] = call
	if m.last.Phase != "" {
		call(m.last)
	}
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.calls, id)
	}
}

func (m *meter) phase(p Phase, total int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last = Progress{Phase: p, Total: max(total, 0)}
	m.tell(time.Now())
}

// add counts bytes of the phase.
func (m *meter) add(n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last.Done += n
	if now := time.Now(); now.Sub(m.told) >= meterStep || m.last.Done == m.last.Total {
		m.tell(now)
	}
}

func (m *meter) tell(now time.Time) {
	m.told = now
	for _, call := range m.calls {
		call(m.last)
	}
}

// metered counts what is read, and ends with its context.
type metered struct {
	ctx  context.Context
	r    io.Reader
	seen func(int64)
}

func (m *metered) Read(p []byte) (int, error) {
	if err := m.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := m.r.Read(p)
	m.seen(int64(n))
	return n, err
}
