package journal

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"sync"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// lookAtTables lists the tables, and those that do not end as a table does, with
// what they end with. That part has no checksum in the format that we pin, and a
// table taken for one of another format makes Pebble v2.1.7 panic, at whatever
// time it is read first. A crash leaves such tables too, but none that the
// database knows. All tables of this major format are of one format; who raises
// formatMajor must let the older one pass.
func (j *Journal) lookAtTables() (good []string, bad map[string]string, err error) {
	names, err := j.o.FS.List(j.dbDir())
	magic, version := formatMajor.MaxTableFormat().AsTuple()
	want := string(binary.LittleEndian.AppendUint32(nil, version)) + magic
	bad = map[string]string{}
	for _, n := range names {
		if path.Ext(n) != ".sst" {
			continue
		}
		name := j.o.FS.PathJoin(j.dbDir(), n)
		got, readErr := lastBytes(j.o.FS, name, len(want))
		if got == want {
			good = append(good, name)
		} else {
			bad[name] = got
		}
		err = errors.Join(err, readErr)
	}
	return good, bad, err
}

// lastBytes is how a file ends: fewer bytes where it is shorter.
func lastBytes(fsys vfs.FS, name string, n int) (string, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return "", err
	}
	st, err := f.Stat()
	if err != nil {
		return "", errors.Join(err, f.Close())
	}
	b := make([]byte, min(int64(n), st.Size()))
	if len(b) > 0 {
		_, err = f.ReadAt(b, st.Size()-int64(len(b)))
	}
	return string(b), errors.Join(err, f.Close())
}

// checkForgotten looks for tables that the database does not know. A crash leaves
// some, and then their records stand elsewhere too. Where they don't, the file
// that names the tables lost its end, which Pebble v2.1.7 takes for a crash: the
// records of whole tables would be gone without a word.
func (j *Journal) checkForgotten(db *pebble.DB, tables []string) error {
	levels, err := db.SSTables()
	if err != nil {
		return fmt.Errorf("look at the tables: %w", err)
	}
	known := map[string]bool{}
	for _, level := range levels {
		for _, t := range level {
			known[fmt.Sprintf("%06d.sst", uint64(t.BackingSSTNum))] = true
		}
	}
	for _, name := range tables {
		if known[path.Base(name)] {
			continue
		}
		keys, err := j.ends(name)
		if err != nil {
			continue // not written to its end
		}
		for _, k := range keys {
			if _, err := (source{reader: db}).get(k); errors.Is(err, pebble.ErrNotFound) {
				d := j.damaged(fmt.Errorf("record %d stands in a table that the database has forgotten", seqOf(k)))
				d.File = name
				return d
			}
		}
	}
	return nil
}

// ends are the first and the last key of a record, and of the index, in a table.
// Neither are ever deleted.
func (j *Journal) ends(name string) (keys [][]byte, err error) {
	defer func() { // Pebble v2.1.7 panics at some false footers
		if p := recover(); p != nil {
			err = fmt.Errorf("read a table: %v", p)
		}
	}()
	it, done, err := openTable(j.o, name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, done()) }()
	for kind, prefix := range map[kindOfKey][]byte{recordKey: []byte("e/"), indexKey: []byte("m/")} {
		if kv := it.SeekGE(prefix, 0); kv != nil && isKey(kv.K.UserKey, kind) {
			keys = append(keys, slices.Clone(kv.K.UserKey))
		}
		if kv := it.SeekLT(after(prefix), 0); kv != nil && isKey(kv.K.UserKey, kind) {
			keys = append(keys, slices.Clone(kv.K.UserKey))
		}
	}
	return keys, it.Error()
}

func isKey(k []byte, want kindOfKey) bool {
	_, _, kind := keyOf(k)
	return kind == want
}

// openTable reads one table by itself.
func openTable(o Options, name string) (sstable.Iterator, func() error, error) {
	f, err := o.FS.Open(name)
	if err != nil {
		return nil, nil, err
	}
	readable, err := sstable.NewSimpleReadable(f)
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	t, err := sstable.NewReader(context.Background(), readable, o.pebble(true).MakeReaderOptions())
	if err != nil {
		return nil, nil, errors.Join(err, readable.Close())
	}
	it, err := t.NewIter(sstable.NoTransforms, nil, nil, sstable.AssertNoBlobHandles)
	if err != nil {
		return nil, nil, errors.Join(err, t.Close())
	}
	return it, func() error { return errors.Join(it.Close(), t.Close()) }, nil
}

// keeper is a file system that keeps what Pebble wants to delete until the
// journal is known to be whole, and hides tables that it must not read. Pebble,
// which does not see them, may write a new file under the name of one: from then
// on it is a file like any other.
type keeper struct {
	vfs.FS
	home string // the database's directory

	mu     sync.Mutex
	hidden map[string]string
	kept   []string
	free   bool
}

func (k *keeper) hides(name string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	_, hidden := k.hidden[name]
	return hidden
}

// renewed: what had this name is gone.
func (k *keeper) renewed(name string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.hidden, name)
	k.kept = slices.DeleteFunc(k.kept, func(old string) bool { return old == name })
}

// Create implements vfs.FS.
func (k *keeper) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	k.renewed(name)
	return k.FS.Create(name, category)
}

// Link implements vfs.FS.
func (k *keeper) Link(old, name string) error {
	if k.PathDir(name) != k.home {
		return syscall.EXDEV // Pebble copies then: a backup must not share what may be damaged
	}
	k.renewed(name)
	return k.FS.Link(old, name)
}

// Rename implements vfs.FS.
func (k *keeper) Rename(old, name string) error {
	k.renewed(old)
	k.renewed(name)
	return k.FS.Rename(old, name)
}

// ReuseForWrite implements vfs.FS.
func (k *keeper) ReuseForWrite(old, name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	k.renewed(old)
	k.renewed(name)
	return k.FS.ReuseForWrite(old, name, category)
}

// List implements vfs.FS.
func (k *keeper) List(dir string) ([]string, error) {
	names, err := k.FS.List(dir)
	return slices.DeleteFunc(names, func(n string) bool {
		return k.hides(k.PathJoin(dir, n))
	}), err
}

// Open implements vfs.FS.
func (k *keeper) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	if k.hides(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return k.FS.Open(name, opts...)
}

// Stat implements vfs.FS.
func (k *keeper) Stat(name string) (vfs.FileInfo, error) {
	if k.hides(name) {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: fs.ErrNotExist}
	}
	return k.FS.Stat(name)
}

// blame names a hidden table where Pebble would not open without.
func (k *keeper) blame(err error) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	d, ok := errors.AsType[*DamagedError](err)
	if !ok || len(k.hidden) == 0 {
		return err
	}
	d.File = slices.Sorted(maps.Keys(k.hidden))[0]
	d.Err = fmt.Errorf("the table ends with %x: %w", k.hidden[d.File], d.Err)
	return d
}

// Remove implements vfs.FS.
func (k *keeper) Remove(name string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.free {
		return k.FS.Remove(name)
	}
	k.kept = append(k.kept, name)
	return nil
}

// letGo deletes what was kept and what was hidden, and what comes later at once.
func (k *keeper) letGo() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.free = true
	var errs []error
	for _, name := range slices.AppendSeq(k.kept, maps.Keys(k.hidden)) {
		// Pebble asks for the name that it would have given: 00004.sst is not there as 000004.sst.
		if err := k.FS.Remove(name); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	k.kept = nil
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("delete old files: %w", err)
	}
	return nil
}
