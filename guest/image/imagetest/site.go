package imagetest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// Site serves files by their path, and counts who asks.
type Site struct {
	*httptest.Server
	Files map[string][]byte
	// Half hears of every answer of a gated site that is half sent, and Gate is
	// what its rest waits for.
	Half, Gate chan struct{}

	mu    sync.Mutex
	asked map[string]int
}

// Serve serves files until the test is over.
func Serve(t testing.TB, files map[string][]byte) *Site {
	t.Helper()
	s := &Site{Files: files, asked: map[string]int{}}
	s.Server = httptest.NewServer(http.HandlerFunc(s.answer))
	t.Cleanup(s.Close)
	return s
}

func (s *Site) answer(w http.ResponseWriter, r *http.Request) {
	data, ok := s.Files[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	s.mu.Lock()
	s.asked[r.URL.Path]++
	gate, half := s.Gate, s.Half
	s.mu.Unlock()
	w.Header().Set("Content-Length", fmt.Sprint(len(data)))
	if gate == nil {
		_, _ = w.Write(data)
		return
	}
	_, _ = w.Write(data[:len(data)/2])
	w.(http.Flusher).Flush()
	half <- struct{}{}
	select {
	case <-gate:
		_, _ = w.Write(data[len(data)/2:])
	case <-r.Context().Done():
	}
}

// Gated makes every answer stop in the middle, until Gate is closed.
func (s *Site) Gated() *Site {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Gate, s.Half = make(chan struct{}), make(chan struct{}, 100)
	return s
}

// Downloads is how often a path was asked for.
func (s *Site) Downloads(path string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[path]
}
