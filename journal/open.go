package journal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/arcboxlabs/arcbox-engine/fsm"
	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Journal is an open journal.
type Journal struct {
	dir      string
	o        Options
	readOnly bool
	lock     io.Closer
	db       *pebble.DB
	source   // the same
	head     *head

	life   sync.RWMutex // held for reading by every call, for writing by Close
	closed bool

	queue   chan *request
	applied chan *applied
	marks   chan *taken   // checkpoints to be written
	ended   chan struct{} // closed when settle has ended
	running sync.WaitGroup
	w       writer

	mu       sync.RWMutex            // what is durable
	machines map[string]*fsm.Machine // all but removed ones
	news     chan struct{}           // closed at the next append
	durable  atomic.Uint64

	applying, syncing atomic.Pointer[time.Time] // since when the disk is waited for
	ballast           atomic.Bool               // the ballast file is there
}

// Open opens the journal in dir for writing and makes it where there is none.
// Its errors are ErrLocked, ErrNewerFormat, a *DamagedError, or the system's.
func Open(dir string, o Options) (*Journal, error) {
	j := newJournal(dir, o)
	if err := j.open(); err != nil {
		return nil, errors.Join(err, j.release())
	}
	j.running.Go(j.write)
	j.running.Go(j.settle)
	j.running.Go(j.keepCheckpoints)
	return j, nil
}

// OpenReadOnly opens a journal that no engine has open. It changes nothing.
func OpenReadOnly(dir string, o Options) (*Journal, error) {
	j := newJournal(dir, o)
	j.readOnly = true
	close(j.ended)
	if err := j.open(); err != nil {
		return nil, errors.Join(err, j.release())
	}
	return j, nil
}

func newJournal(dir string, o Options) *Journal {
	return &Journal{
		dir: dir, o: o.withDefaults(), machines: map[string]*fsm.Machine{}, news: make(chan struct{}),
		marks: make(chan *taken, 1), queue: make(chan *request, 256), applied: make(chan *applied), ended: make(chan struct{}),
		w: writer{now: map[string]*fsm.Machine{}, stale: newStale()},
	}
}

func (j *Journal) open() (err error) {
	if err := j.makeDir(); err != nil {
		return err
	}
	if j.lock, err = lock(j.o.FS, j.dir); err != nil {
		return err
	}
	if !j.readOnly {
		if err := j.create(); err != nil {
			return err
		}
		j.freeAtOpen()
	}
	if err := j.openDB(j.readOnly); err != nil {
		return err
	}
	if err := j.load(); err != nil || j.readOnly {
		return err
	}
	if err := j.raiseFormat(); err != nil {
		return err
	}
	j.prune()
	j.keepBallast()
	return nil
}

func (j *Journal) dbDir() string { return j.o.FS.PathJoin(j.dir, "db") }

func (j *Journal) makeDir() error {
	if j.readOnly {
		if _, err := j.o.FS.Stat(j.dbDir()); err != nil {
			return fmt.Errorf("there is no journal in %s: %w", j.dir, err)
		}
		return nil
	}
	if err := j.o.FS.MkdirAll(j.dir, 0o700); err != nil {
		return fmt.Errorf("make journal %s: %w", j.dir, err)
	}
	return syncDir(j.o.FS, j.o.FS.PathDir(j.dir))
}

// lock keeps every other process out, readers too.
func lock(fsys vfs.FS, dir string) (io.Closer, error) {
	l, err := fsys.Lock(fsys.PathJoin(dir, "LOCK"))
	var path *fs.PathError
	switch {
	case err == nil:
		return l, nil
	case errors.As(err, &path): // the file can't be made
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.EACCES), err.Error() == "lock held by current process":
		// The last one is Pebble v2.1.7's word for a second lock in one process.
		return nil, fmt.Errorf("%w: %s", ErrLocked, dir)
	}
	return nil, fmt.Errorf("lock journal %s: %w", dir, err)
}

// create makes an empty journal where there is none. It gets its name when it
// is whole, because a crash can leave a database that Pebble can't open. It is
// opened and closed once, because Pebble writes the first log of a new one in
// an old form, in which one flipped byte hides all behind it.
func (j *Journal) create() error {
	if _, err := j.o.FS.Stat(j.dbDir()); err == nil {
		return nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look at journal %s: %w", j.dir, err)
	}
	if _, err := j.o.FS.Stat(headPath(j.o.FS, j.dir)); err == nil {
		return &DamagedError{File: j.dbDir(), Err: fmt.Errorf("the directory is missing, its head file is there")}
	}
	raw := j.dbDir() + ".new"
	if err := j.o.FS.RemoveAll(raw); err != nil {
		return fmt.Errorf("make journal %s: %w", j.dir, err)
	}
	db, err := j.o.openPebble(raw, j.o.pebble(false))
	if err != nil {
		return fmt.Errorf("make journal %s: %w", j.dir, err)
	}
	err = errors.Join(db.Set(keyFormat, []byte{format}, pebble.Sync), db.Close())
	if err == nil {
		err = errors.Join(syncDir(j.o.FS, raw), j.o.FS.Rename(raw, j.dbDir()))
	}
	if err != nil {
		return fmt.Errorf("make journal %s: %w", j.dir, err)
	}
	return syncDir(j.o.FS, j.dir)
}

// openDB opens a database that is there. It never makes one: where the file is
// missing that names the others, Pebble would delete them all as unknown.
func (j *Journal) openDB(readOnly bool) error {
	tables, bad, err := j.lookAtTables()
	if err != nil {
		return fmt.Errorf("look at the tables: %w", err)
	}
	o := j.o.pebble(readOnly)
	o.ErrorIfNotExists = true
	k := &keeper{FS: o.FS, home: j.dbDir(), hidden: bad}
	o.FS = k
	db, err := j.o.openPebble(j.dbDir(), o)
	if err != nil {
		return k.blame(j.pebbleError(err))
	}
	if err := j.checkForgotten(db, tables); err != nil {
		return errors.Join(err, db.Close()) // and what it forgot stays on the disk
	}
	j.db, j.source = db, source{reader: db}
	if readOnly {
		return nil
	}
	return k.letGo()
}

// pebbleError gives an error of opening the database its name. Pebble has none
// for most kinds of damage: what the system did not say is damage.
func (j *Journal) pebbleError(err error) error {
	if strings.Contains(err.Error(), "unknown format major version") { // Pebble v2.1.7 has no error value for it
		return fmt.Errorf("%w: %w", ErrNewerFormat, err)
	}
	var system syscall.Errno
	if errors.As(err, &system) && system != syscall.ENOENT || errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("open journal %s: %w", j.dir, err)
	}
	return j.damaged(err)
}

func (j *Journal) damaged(err error) *DamagedError {
	d := &DamagedError{File: j.dbDir(), Err: err}
	d.Head, _, _, _, _ = readHead(j.o.FS, j.dir) // 0 where it can't be read either
	return d
}

// release gives back what a failed open, or Close, still holds.
func (j *Journal) release() error {
	var errs []error
	if j.db != nil {
		errs = append(errs, j.db.Close())
	}
	if j.head != nil {
		errs = append(errs, j.head.file.Close())
	}
	if j.lock != nil {
		errs = append(errs, j.lock.Close())
	}
	return errors.Join(errs...)
}

// Close waits for the appends under way, brings every snapshot up to date and
// closes the journal. A second Close does nothing.
func (j *Journal) Close() error {
	j.life.Lock()
	defer j.life.Unlock()
	if j.closed {
		return nil
	}
	j.closed = true
	close(j.queue)
	j.running.Wait()
	j.mu.Lock()
	close(j.news) // nobody waits for what can't come
	j.mu.Unlock()
	var err error
	if !j.readOnly && j.durable.Load() == j.w.seq { // else a disk error ended the writer
		err = j.snapshotAll()
	}
	if err := errors.Join(err, j.release()); err != nil {
		return fmt.Errorf("close journal %s: %w", j.dir, err)
	}
	return nil
}

// enter keeps the journal open while a call runs.
func (j *Journal) enter() (leave func(), err error) {
	j.life.RLock()
	if j.closed {
		j.life.RUnlock()
		return nil, ErrClosed
	}
	return j.life.RUnlock, nil
}

// keep24h is how long the outcome of a request is kept.
const keep24h = 24 * time.Hour

// prune deletes the outcomes of old requests. They are not of the history, so
// that it may fail.
func (j *Journal) prune() {
	now := j.o.Now()
	j.w.pruned = now
	b := j.db.NewBatch()
	err := j.each([]byte("q/"), func(k, v []byte) error {
		if o, ok := decodeOutcome(v); !ok || now.Sub(o.Time) > keep24h {
			return b.Delete(k, nil)
		}
		return nil
	})
	if err == nil {
		err = j.db.Apply(b, pebble.NoSync)
	}
	if err := errors.Join(err, b.Close()); err != nil {
		j.o.Log.Warn("journal: prune requests", "err", err)
	}
}
