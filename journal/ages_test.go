package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/arcboxlabs/arcbox-engine/fsm"
	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// age is a small journal at one point of its life, as a killed engine leaves
// it, and what it holds.
type age struct {
	name     string
	fs       *vfs.MemFS
	records  []fsm.Record
	machines map[string][]byte // snapshots of all, removed ones too
}

// ages are a journal while its first log is written, after a reopen, and after
// a compaction. In each of them a part lies in the log.
func ages(t testing.TB) []age {
	t.Helper()
	fs := vfs.NewCrashableMem()
	o := options(t, fs)
	o.Ballast = 32
	j := open(t, o)
	asked := startRequested(1)
	asked.Request = "r1"
	app(t, j, engineStarted())
	app(t, j, created(1, "one"), created(2, "two"))
	app(t, j, asked)
	app(t, j, health(2, "x"))
	app(t, j, created(3, "three"), removed(3))
	app(t, j, health(1, "y"))
	all := []age{newAge(t, "the first log", fs, j)}
	closed(t, j)

	j = open(t, o)
	app(t, j, health(1, "z"), health(2, "q"))
	app(t, j, engineStarted())
	all = append(all, newAge(t, "after a reopen", fs, j))

	if err := j.db.Flush(); err != nil {
		t.Fatal(err)
	}
	app(t, j, health(1, "v"))
	all = append(all, newAge(t, "after a flush", fs, j))
	closed(t, j)

	// As a crash right behind a reopen leaves it: no compaction has come yet.
	o.tune = func(p *pebble.Options) { p.DisableAutomaticCompactions = true }
	j = open(t, o)
	app(t, j, health(1, "w"))
	all = append(all, newAge(t, "before a compaction", fs, j))
	closed(t, j)
	o.tune = nil
	j = open(t, o)
	if err := errors.Join(j.db.Flush(), j.db.Compact(t.Context(), []byte("a"), []byte("z"), false)); err != nil {
		t.Fatal(err)
	}
	app(t, j, health(1, "u"), removed(2))
	app(t, j, created(4, "four"))
	all = append(all, newAge(t, "after a compaction", fs, j))
	closed(t, j)
	return all
}

func newAge(t testing.TB, name string, fs *vfs.MemFS, j *Journal) age {
	t.Helper()
	a := age{name: name, fs: copied(t, fs), machines: map[string][]byte{}}
	es, err := j.Query(Query{})
	if err != nil {
		t.Fatal(err)
	}
	f := newFold()
	for _, e := range es {
		a.records = append(a.records, e.Record)
		if err := errors.Join(e.Unreadable, f.record(e.Record)); err != nil {
			t.Fatal(err)
		}
	}
	for id, m := range f.machines {
		if a.machines[id], err = encodeSnapshot(*m); err != nil {
			t.Fatal(err)
		}
	}
	return a
}

// copied is an image that no crash can be tried on, and quick to make.
func copied(t testing.TB, fs vfs.FS) *vfs.MemFS {
	t.Helper()
	c := vfs.NewMem()
	if ok, err := vfs.Clone(fs, c, "/j", "/j"); !ok || err != nil {
		t.Fatal(ok, err)
	}
	return c
}

// What may become of a journal that was damaged.
const (
	whole       = "everything is there"
	told        = "everything is there, and verify tells of the damage" // of an index or a snapshot
	quarantined = "what is lost is shown as unreadable"
	refused     = "open refuses"
)

// outcome opens a damaged copy and tells what became of it. An error is what
// must not be: something is missing or different without a word, or there is no
// way on.
func (a age) outcome(open func(string, Options) (*Journal, error), o Options) (string, error) {
	o.Ballast = 32
	j, err := open("/j", o)
	if err != nil {
		d, ok := errors.AsType[*DamagedError](err)
		if !ok || !strings.Contains(err.Error(), d.File) || !strings.Contains(err.Error(), "`arcbox journal recover`") {
			return "", fmt.Errorf("no way on: %w", err)
		}
		return refused, nil
	}
	what, err := a.judge(j)
	return what, errors.Join(err, j.Close())
}

func (a age) judge(j *Journal) (string, error) {
	es, err := j.Query(Query{})
	if err != nil {
		return "", fmt.Errorf("query: %w", err)
	}
	lost, err := a.compare(es)
	if err != nil {
		return "", err
	}
	odd, err := a.strange(j, lost > 0)
	if err != nil {
		return "", err
	}
	rep, err := j.Verify(context.Background())
	switch {
	case err != nil:
		return "", fmt.Errorf("verify: %w", err)
	case lost+len(odd) == 0 && len(rep.Faults) == 0:
		return whole, nil
	case len(rep.Faults) == 0:
		return "", fmt.Errorf("verify finds nothing, but %d records are unreadable, and %v", lost, odd)
	case lost+len(odd) == 0:
		return told, nil
	case lost == 0:
		return "", fmt.Errorf("every record is there, but %v, and verify finds %v", odd, rep.Faults)
	}
	return quarantined, nil
}

// compare counts the records that are shown as unreadable. Every other one must
// be what it was.
func (a age) compare(es []Entry) (lost int, err error) {
	if len(es) != len(a.records) {
		return 0, fmt.Errorf("%d entries of %d", len(es), len(a.records))
	}
	for i, e := range es {
		switch was := a.records[i]; {
		case e.Seq != was.Seq:
			return 0, fmt.Errorf("entry %d is record %d", i, e.Seq)
		case e.Unreadable == nil && !reflect.DeepEqual(e.Record, was):
			return 0, fmt.Errorf("record %d became %+v", e.Seq, e.Record)
		case e.Unreadable == nil:
		case e.Machine != "" && e.Machine != was.Machine:
			return 0, fmt.Errorf("record %d is said to be of machine %s", e.Seq, e.Machine)
		default:
			lost++
		}
	}
	return lost, nil
}

// strange lists what is not as it was beside the records. Where some of them
// are lost, a machine may be marked as damaged, or unknown, but nothing else.
func (a age) strange(j *Journal, lost bool) (odd []string, err error) {
	for id, was := range a.machines {
		m, ok := j.Machine(id)
		now, err := encodeSnapshot(m)
		switch {
		case ok && err == nil && bytes.Equal(was, now):
		case lost && (!ok || m.Damaged):
			odd = append(odd, fmt.Sprintf("machine %s: %v, damaged %v", id, ok, m.Damaged))
		default:
			return nil, fmt.Errorf("machine %s became %+v, %v, %w", id, m, ok, err)
		}
	}
	if ms := j.Machines(); len(ms) > len(a.machines) {
		return nil, fmt.Errorf("%d machines of %d", len(ms), len(a.machines))
	}
	for _, r := range a.records {
		if r.Kind == fsm.KindCreated {
			if ms, err := j.ByName(r.Name); err != nil || len(ms) != 1 || ms[0].ID != r.Machine {
				odd = append(odd, fmt.Sprintf("by the name %s: %+v, %v", r.Name, ms, err))
			}
		}
		if r.Request != "" {
			if o, ok := j.Request(r.Principal, r.Request); !ok || o.Seq != r.Seq {
				odd = append(odd, fmt.Sprintf("request %s: %+v, %v", r.Request, o, ok))
			}
		}
	}
	return odd, nil
}

// recovers saves what can be saved, and holds it against what there was: no
// record is invented or changed, what is lost is listed, and the journal that
// comes out of it is sound. It returns the number of records saved.
func (a age) recovers(o Options) (uint64, error) {
	s, err := Recover("/j", "/k", o)
	defer func() { _ = o.FS.RemoveAll("/k") }()
	if err != nil {
		return 0, err
	}
	stones := uint64(len(s.Lost))
	if last := uint64(len(a.records)); s.Last != last || s.Records+stones != last {
		return 0, fmt.Errorf("recovered %+v of %d", s, last)
	}
	k, err := Open("/k", o)
	if err != nil {
		return 0, fmt.Errorf("open what was recovered: %w", err)
	}
	defer func() { _ = k.Close() }()
	es, err := k.Query(Query{})
	if err != nil {
		return 0, err
	}
	lost, err := a.compare(es)
	if err != nil || uint64(lost) != stones {
		return 0, fmt.Errorf("recovered %+v, but %d are lost: %w", s, lost, err)
	}
	if _, err := a.strange(k, lost > 0); err != nil {
		return 0, err
	}
	rep, err := k.Verify(context.Background())
	if err != nil || len(rep.Faults) > 0 || rep.Lost != stones {
		return 0, fmt.Errorf("verify what was recovered: %+v, %w", rep, err)
	}
	return s.Records, nil
}
