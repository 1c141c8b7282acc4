package journal

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// formatMajor pins Pebble's format. At 19 and below one flipped byte in the log
// drops all that was synced behind it, in silence.
const formatMajor = pebble.FormatWALSyncChunks

// The defaults of Options.
const (
	DefaultFloor   = 256 << 20
	DefaultBallast = 8 << 20
)

// Options are what a journal takes from outside. The zero value is what an
// engine wants.
type Options struct {
	FS  vfs.FS           // nil = the operating system's
	Now func() time.Time // wall clock put into records; nil = time.Now
	// Fatal is called on a disk error on commit, and by Pebble where it can't go
	// on. It must not return. nil = log and exit with status 3.
	Fatal func(err error)
	// FreeSpace is the number of bytes free where dir lies; nil = statfs.
	FreeSpace func(dir string) (uint64, error)
	Floor     uint64       // bytes; with less free, DiskLow is true; 0 = DefaultFloor
	Ballast   int64        // bytes of the ballast file; 0 = DefaultBallast, negative = none
	Log       *slog.Logger // nil = nowhere
	// Checkpoint is the number of records between two checkpoints, by which the
	// past is found; 0 = DefaultCheckpoint, and more where there are many machines.
	Checkpoint uint64

	tune func(*pebble.Options) // tests only
}

func (o Options) withDefaults() Options {
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.Now == nil {
		o.Now = time.Now //nolint:forbidigo // an engine's default; scenarios give theirs
	}
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	if o.FreeSpace == nil {
		fs := o.FS
		o.FreeSpace = func(dir string) (uint64, error) {
			u, err := fs.GetDiskUsage(dir)
			return u.AvailBytes, err
		}
	}
	if o.Floor == 0 {
		o.Floor = DefaultFloor
	}
	if o.Ballast == 0 {
		o.Ballast = DefaultBallast
	}
	if o.Fatal == nil {
		log := o.Log
		o.Fatal = func(err error) {
			log.Error("the journal can't be written; the engine ends and repairs itself at its next start", "err", err)
			os.Exit(3)
		}
	}
	return o
}

// fatal ends the process.
func (o Options) fatal(err error) {
	o.Fatal(err)
	panic(fmt.Errorf("journal: Options.Fatal returned: %w", err)) // what follows would be a false success
}

// pebble are the options of the database. An engine at rest must stay small and
// asleep: the memtable grows only as it is used, and neither the ticking
// compaction scheduler nor the disk health checker (which Pebble adds where FS
// is nil) runs.
func (o Options) pebble(readOnly bool) *pebble.Options {
	p := &pebble.Options{
		FS:                 o.FS,
		ReadOnly:           readOnly,
		FormatMajorVersion: formatMajor,
		CacheSize:          1 << 20,
		MemTableSize:       4 << 20,
		MaxOpenFiles:       64,
		Logger:             logger{o},
		EventListener: &pebble.EventListener{
			BackgroundError: o.reportBackground(),
			DataCorruption:  o.reportDamage(),
		},
	}
	p.Experimental.FileCacheShards = 1
	p.Experimental.ReadSamplingMultiplier = -1 // no compaction because something was read
	// One compaction at a time, granted as the one before ends: nothing is left
	// for the default scheduler's ten looks a second to find. Pebble v2.1.7
	// exports the scheduler without them under this name only.
	p.Experimental.CompactionScheduler = pebble.NewConcurrencyLimitSchedulerWithNoPeriodicGrantingForTest()
	if o.tune != nil {
		o.tune(p)
	}
	return p
}

// openPebble opens a database. Pebble v2.1.7 does not return from Open while the
// disk is full: it writes the table into which it brings the log again and again.
// Work that fails so early ends the process, which says why.
func (o Options) openPebble(dir string, p *pebble.Options) (*pebble.DB, error) {
	var opened atomic.Bool
	report := p.EventListener.BackgroundError
	p.EventListener.BackgroundError = func(err error) {
		if report(err); !opened.Load() && isDiskError(err) {
			o.fatal(fmt.Errorf("journal: open %s: %w", dir, err))
		}
	}
	db, err := pebble.Open(dir, p)
	opened.Store(true)
	return db, err
}

func isDiskError(err error) bool {
	_, system := errors.AsType[syscall.Errno](err)
	return system && !errors.Is(err, syscall.ENOENT) // which is damage
}

// reportEvery is the least time between two reports of background work that
// failed: Pebble tries again at once, and must not fill the disk with that.
const reportEvery = 10 * time.Second

func (o Options) reportBackground() func(error) {
	var mu sync.Mutex
	var last time.Time
	return func(err error) {
		mu.Lock()
		defer mu.Unlock()
		if now := o.Now(); last.IsZero() || now.Sub(last) >= reportEvery {
			last = now
			o.Log.Error("journal: background work failed", "err", inLine(err))
		}
	}
}

// reportDamage logs what is damaged, once each: a damaged block is read again
// and again.
func (o Options) reportDamage() func(pebble.DataCorruptionInfo) {
	var said sync.Map
	return func(i pebble.DataCorruptionInfo) {
		what := inLine(i.Details)
		if _, again := said.LoadOrStore(i.Path+what, true); !again {
			o.Log.Error("journal: damaged data on disk", "file", i.Path, "err", what)
		}
	}
}

// inLine is an error in one line. Pebble's bring marks of their own along, and,
// where a log asks for it, the stack.
func inLine(err error) string {
	text := strings.ReplaceAll(err.Error(), "\n<corruption detail carrier>", "")
	return strings.ReplaceAll(text, "\n", "; ")
}

// logger carries Pebble's words to slog, and its last ones to Fatal.
type logger struct{ o Options }

func (logger) Infof(string, ...any) {}

func (l logger) Errorf(format string, args ...any) {
	l.o.Log.Error("journal: " + fmt.Sprintf(format, args...))
}

func (l logger) Fatalf(format string, args ...any) {
	last := &lastWords{text: fmt.Sprintf("journal: "+format, args...)}
	for _, a := range args {
		if err, ok := a.(error); ok {
			last.cause = err
		}
	}
	l.o.fatal(last)
}

// lastWords are Pebble's, with the error that they tell of: its format has no %w.
type lastWords struct {
	text  string
	cause error
}

// Error implements error.
func (e *lastWords) Error() string { return e.text }

// Unwrap gives the cause, or nil.
func (e *lastWords) Unwrap() error { return e.cause }

// The errors that callers tell apart.
var (
	ErrLocked      = errors.New("journal: in use by another process")
	ErrNewerFormat = errors.New("journal: written by a newer arcbox-engine")
	ErrReadOnly    = errors.New("journal: opened read-only")
	ErrClosed      = errors.New("journal: closed")
	ErrInvalid     = errors.New("journal: invalid record")
)

// DamagedError says that a journal can't be opened as it is.
type DamagedError struct {
	File string // the file or directory that does not fit
	Head uint64 // the last record that was promised, where known
	Last uint64 // the last record that is there, where known
	Err  error  // what was found
}

// Error names the file, both numbers, and the way on.
func (e *DamagedError) Error() string {
	return fmt.Sprintf("journal: %s is damaged: %s (record %d was written, the last one there is %d); "+
		"see what can be saved with `arcbox journal recover`", e.File, inLine(e.Err), e.Head, e.Last)
}

// Unwrap is what was found.
func (e *DamagedError) Unwrap() error { return e.Err }
