package endpoint

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
)

// watched is a connection; it knows of what gRPC turns away by itself and tells
// nobody: other protocols, broken frames, headers without end, silence.
type watched struct {
	net.Conn
	log       *slog.Logger
	principal string
	called    atomic.Bool // something of it reached us, which is logged elsewhere
	closed    sync.Once

	mu    sync.Mutex
	first []byte // the first bytes, at most maxUnknown
	err   error  // of the last read
}

// Read implements net.Conn.
func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.first = append(w.first, p[:min(n, maxUnknown-len(w.first))]...)
	w.err = err
	return n, err
}

// Close implements net.Conn. Who connects and leaves without a word, as to see
// whether somebody listens, does nothing wrong.
func (w *watched) Close() error {
	w.closed.Do(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if !w.called.Load() && (len(w.first) > 0 || !errors.Is(w.err, io.EOF)) {
			w.log.Warn("refused a connection: it made no call", "principal", w.principal, "began", string(w.first))
		}
	})
	return w.Conn.Close()
}
