package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/batchrepr"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/wal"
)

// raw fills a database from the tables and logs of one that Pebble can't open,
// each read for itself. It needs no file that names the others. That gives the
// right records, whichever files are out of date: what stands under a key of e/
// or m/ never changes and is never deleted.
type raw struct {
	fs    vfs.FS
	o     Options
	db    *pebble.DB
	batch *pebble.Batch // indexed, so that it can be read
	last  end           // the furthest that was found
	notes []string
}

// readRaw makes a database at to out of what can be read in the files of from.
func readRaw(from, to string, o Options) (notes []string, err error) {
	db, err := o.openPebble(to, o.pebble(false))
	if err != nil {
		return nil, fmt.Errorf("make %s: %w", to, err)
	}
	r := &raw{fs: o.FS, o: o, db: db, batch: db.NewIndexedBatch()}
	defer func() { err = errors.Join(err, r.batch.Close(), db.Close()) }()
	if err := errors.Join(db.Set(keyFormat, []byte{format}, pebble.NoSync), r.files(from)); err != nil {
		return nil, err
	}
	if r.last.seq > 0 {
		if err := r.batch.Set(keyLast, r.last.encode(), nil); err != nil {
			return nil, err
		}
	}
	return r.notes, db.Apply(r.batch, pebble.Sync)
}

// files reads all there is, the oldest first. What can't be read is noted.
func (r *raw) files(dir string) error {
	names, err := r.fs.List(dir)
	if err != nil {
		return fmt.Errorf("read %s: %w", dir, err)
	}
	slices.Sort(names)
	for _, n := range names {
		if path.Ext(n) != ".sst" {
			continue
		}
		if err := r.table(r.fs.PathJoin(dir, n)); errors.Is(err, ErrNewerFormat) {
			return err
		} else if err != nil {
			r.note(n, err)
		}
	}
	logs, err := r.logs(dir, names)
	if err != nil {
		return fmt.Errorf("read %s: %w", dir, err)
	}
	for _, l := range logs {
		if err := r.log(l); errors.Is(err, ErrNewerFormat) {
			return err
		} else if err != nil {
			r.note(fmt.Sprintf("%v.log", l.Num), err)
		}
	}
	return nil
}

// logs lists the logs. Where two names stand for one (000012.log, and 12.log that
// somebody put beside it), Pebble lists none: so that each but the first is moved
// to a place of its own, and read there. dir is a copy.
func (r *raw) logs(dir string, names []string) (wal.Logs, error) {
	type place struct {
		num   wal.NumWAL
		index wal.LogNameIndex
	}
	var twins wal.Logs
	seen := map[place]bool{}
	for _, n := range names {
		num, index, ok := wal.ParseLogFilename(n)
		if at := (place{num, index}); !ok || !seen[at] {
			seen[at] = seen[at] || ok
			continue
		}
		apart := r.fs.PathJoin(dir, "apart-"+n)
		if err := r.fs.MkdirAll(apart, 0o700); err != nil {
			return nil, err
		}
		if err := r.fs.Rename(r.fs.PathJoin(dir, n), r.fs.PathJoin(apart, n)); err != nil {
			return nil, err
		}
		logs, err := wal.Scan(wal.Dir{FS: r.fs, Dirname: apart})
		if err != nil {
			return nil, err
		}
		twins = append(twins, logs...)
	}
	logs, err := wal.Scan(wal.Dir{FS: r.fs, Dirname: dir})
	return append(logs, twins...), err
}

func (r *raw) note(file string, err error) {
	r.notes = append(r.notes, fmt.Sprintf("a part of the file %s: %s", file, inLine(err)))
}

// table reads a table up to its first fault, and behind that whatever of its
// records another block holds.
func (r *raw) table(name string) (err error) {
	defer func() { // Pebble v2.1.7 panics at some false footers
		if p := recover(); p != nil {
			err = fmt.Errorf("read a table: %v", p)
		}
	}()
	it, done, err := openTable(r.o, name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	return r.scan(it)
}

// maxSkip bounds how many records one damaged block of a table may hold.
const maxSkip = 1 << 12

func (r *raw) scan(it sstable.Iterator) (fault error) {
	var next uint64 // the record behind the last one that was read
	kv := it.First()
	for {
		for ; kv != nil; kv = it.Next() {
			v, _, err := kv.Value(nil)
			if err != nil {
				fault = errors.Join(fault, err)
				continue
			}
			if err := r.put(kv.K.UserKey, v); err != nil {
				return err
			}
			if _, seq, kind := keyOf(kv.K.UserKey); kind == recordKey {
				next = seq + 1
			}
		}
		err := it.Error()
		if err == nil {
			return fault
		}
		fault = errors.Join(fault, err)
		for skip := uint64(0); kv == nil && it.Error() != nil; skip++ {
			if skip == maxSkip {
				return fault
			}
			next++
			kv = it.SeekGE(keyRecord(next), 0)
		}
	}
}

// log reads a log up to its first fault.
func (r *raw) log(l wal.LogicalLog) (err error) {
	in := l.OpenForRead()
	defer func() { err = errors.Join(err, in.Close()) }()
	for {
		rec, _, err := in.NextRecord()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		b, err := io.ReadAll(rec)
		if err != nil {
			return err
		}
		for entries := batchrepr.Read(b); ; {
			_, k, v, ok, err := entries.Next()
			if err != nil {
				return err
			}
			if !ok {
				break
			}
			if err := r.put(k, v); err != nil {
				return err
			}
		}
	}
}

// put takes what records and their index are made of, and where they end.
func (r *raw) put(k, v []byte) error {
	_, seq, kind := keyOf(k)
	switch {
	case bytes.Equal(k, keyFormat) && len(v) == 1 && v[0] > format:
		return fmt.Errorf("%w: format %d, this one knows up to %d", ErrNewerFormat, v[0], format)
	case bytes.Equal(k, keyLast):
		if e, err := decodeEnd(v); err == nil && e.seq > r.last.seq {
			r.last = e
		}
		return nil
	case kind == recordKey && len(v) > 0: // a deletion, which nobody writes, is none
		if _, err := decode(seq, v); err != nil && r.has(seq) {
			return nil // the readable one of two stays
		}
	case kind == indexKey:
	default:
		return nil
	}
	if err := r.batch.Set(k, v, nil); err != nil || r.batch.Len() < 1<<20 {
		return err
	}
	err := errors.Join(r.db.Apply(r.batch, pebble.NoSync), r.batch.Close())
	r.batch = r.db.NewIndexedBatch()
	return err
}

// has tells whether a readable record was found already.
func (r *raw) has(seq uint64) bool {
	v, closer, err := r.batch.Get(keyRecord(seq))
	if err != nil {
		return false
	}
	_, err = decode(seq, v)
	return errors.Join(err, closer.Close()) == nil
}
