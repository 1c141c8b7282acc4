package pull

import (
	"cmp"
	"io"
	"net/http"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/arcboxlabs/arcbox-engine/guest/image"
	"github.com/arcboxlabs/arcbox-engine/guest/image/rootfs"
)

// Options are what is done differently from the usual.
type Options struct {
	Index        string            // URL of the simplestreams index; DefaultIndex
	Architecture string            // as Go names it; the host's
	Transport    http.RoundTripper // one that gives up where a server stalls
	Limits       rootfs.Limits     // rootfs.DefaultLimits
	Now          func() time.Time  // time.Now
	Stream       io.Reader         // what image.FromStream speaks of; it is read once
}

// Sources are where the images of a store come from. Any number of goroutines
// may use them.
type Sources struct {
	store *image.Store
	opts  Options

	mu      sync.Mutex
	flights map[string]*flight

	// What tests change: how long a server may send nothing, and the disk.
	stall time.Duration
	write func(*os.File) output
	free  func(dir string) (uint64, error)
	step  int64
}

// output is what an image is written to.
type output interface {
	io.WriterAt
	Sync() error
}

const prefix = "sha256:"

// Into brings images into a store.
func Into(store *image.Store, o Options) *Sources {
	o.Index = cmp.Or(o.Index, DefaultIndex)
	o.Architecture = cmp.Or(o.Architecture, runtime.GOARCH)
	o.Limits = cmp.Or(o.Limits, rootfs.DefaultLimits)
	if o.Transport == nil {
		o.Transport = patient()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Sources{
		store: store, opts: o, flights: map[string]*flight{},
		stall: stallTime, write: func(f *os.File) output { return f }, free: freeSpace, step: spaceStep,
	}
}

// Close lets go of connections that are kept for a next question.
func (s *Sources) Close() {
	if t, ok := s.opts.Transport.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

// patient is the usual transport, which by itself would wait for ever for an
// answer to begin.
func patient() http.RoundTripper {
	t, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return http.DefaultTransport // somebody put another one there
	}
	t = t.Clone()
	t.ResponseHeaderTimeout = stallTime
	return t
}
