package tree

import (
	"errors"
	"fmt"
	"sync"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// Bounds of a copy.
const (
	maxDepth  = 255
	maxName   = 255
	maxTarget = 4096
	maxLeft   = 10 // names that Stats keeps
)

// ErrParts: the other side broke the rules of a copy.
var ErrParts = errors.New("copy: the parts make no tree")

func brokenParts(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrParts, fmt.Sprintf(format, args...))
}

// Source yields parts; io.EOF is behind the last.
type Source func() (*wire.CopyPart, error)

// Sink takes parts. It must not keep them.
type Sink func(*wire.CopyPart) error

// Stats counts what a copy has done, while it goes on.
type Stats struct {
	mu    sync.Mutex
	count Count
}

// Count is what Stats has counted.
type Count struct {
	Files int64 // begun
	Bytes int64 // of content, holes included
	Total int64 // bytes of the files that were begun, as announced
	// Left is how many entries were left out; LeftNames says of the first few
	// which, and why.
	Left      int64
	LeftNames []string
}

// Count is a copy of what was counted until now.
func (s *Stats) Count() Count {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.count
	c.LeftNames = append([]string(nil), c.LeftNames...)
	return c
}

func (s *Stats) begin(size int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count.Files++
	s.count.Total += max(size, 0)
}

func (s *Stats) bytes(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count.Bytes += n
}

func (s *Stats) left(path, why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count.Left++
	if len(s.count.LeftNames) < maxLeft {
		s.count.LeftNames = append(s.count.LeftNames, path+": "+why)
	}
}
