package journal

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/arcboxlabs/arcbox-engine/fsm"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"
)

// What can be read of a record can be folded, is encoded to what can be read
// again, and costs no more memory than its length allows.
func FuzzDecode(f *testing.F) {
	for _, fact := range facts {
		f.Add(encoded(f, recordOf(fact)))
	}
	stone, err := encodeStone("gone", []byte("rest"))
	if err != nil {
		f.Fatal(err)
	}
	seal(stone, 1<<40, time.Unix(1, 0), hash{})
	f.Add(stone)
	f.Add(append(bytes.Clone(emptyHeader), append([]byte{0x9b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, emptyHash...)...)) // an array without end
	f.Fuzz(func(t *testing.T, v []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		r, err := decode(1<<40, v)
		runtime.ReadMemStats(&after)
		if cost := after.TotalAlloc - before.TotalAlloc; cost > 64<<10+200*uint64(len(v)) {
			t.Fatalf("%d bytes cost %d", len(v), cost)
		}
		samePlain(t, v)
		if err != nil {
			if r != (fsm.Record{}) && r.Fact != nil {
				t.Fatalf("%+v and %v", r, err)
			}
			return
		}
		_ = newFold().record(r)
		k, ok := parseMachine(r.Machine)
		if !ok {
			t.Fatalf("machine id %q", r.Machine)
		}
		again, err := encode(r, k, new(bytes.Buffer))
		if errors.Is(err, ErrInvalid) && len(v) > MaxRecord/2 {
			return // a short spelling of a long record
		}
		if err != nil {
			t.Fatal(err)
		}
		seal(again, r.Seq, r.Time, hash{})
		got, err := decode(r.Seq, again)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(r, got); d != "" {
			t.Fatal(d)
		}
		// The second time it is written as the first.
		third, err := encode(got, k, new(bytes.Buffer))
		seal(third, r.Seq, r.Time, hash{})
		if err != nil || !bytes.Equal(again, third) {
			t.Fatalf("%x became %x, %v", again, third, err)
		}
	})
}

// samePlain holds what plainRecord takes against what the CBOR library makes of it.
func samePlain(t *testing.T, v []byte) {
	t.Helper()
	if len(v) < headerSize+hashSize || len(v) > 2*MaxRecord {
		return
	}
	raw := v[headerSize : len(v)-hashSize]
	r, m, ok := plainRecord(raw, 7, time.Unix(9, 0))
	if !ok {
		return
	}
	want, err := cborRecord(raw, 7, time.Unix(9, 0))
	if err != nil {
		t.Fatalf("%x is no record, and was taken for %+v: %v", raw, r, err)
	}
	if k, known := parseMachine(want.Machine); !known || k != m {
		t.Fatalf("%x is of machine %s, and was said to be of %s", raw, k, m)
	}
	if d := cmp.Diff(want, r); d != "" {
		t.Fatal(d)
	}
}

// A snapshot that can be read is its machine's, and is written as it is read.
func FuzzSnapshot(f *testing.F) {
	k, _ := parseMachine(id(1))
	m := newFold()
	for i, fact := range facts[:len(facts)-2] {
		r := recordOf(fact)
		r.Seq, r.Machine = uint64(i+1), id(1)
		_ = m.record(r)
		v, err := encodeSnapshot(m.machine(id(1)))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, v []byte) {
		m, err := decodeSnapshot(k, v)
		if err != nil {
			return
		}
		if m.ID != id(1) {
			t.Fatalf("the snapshot of %q was taken for another's", m.ID)
		}
		_, _ = m.CID(), m.State
		a, err := encodeSnapshot(m)
		if err != nil {
			return // a time that CBOR can't write
		}
		again, err := decodeSnapshot(k, a)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := encodeSnapshot(again); err != nil || !bytes.Equal(a, b) {
			t.Fatalf("%x became %x, %v", a, b, err)
		}
	})
}

// The small values have one spelling: what is taken is written the same.
func FuzzSmallValues(f *testing.F) {
	k, _ := parseMachine(id(1))
	f.Add(encodeOutcome(Outcome{Seq: 1, Machine: id(1), Kind: fsm.KindCreated, Time: time.Unix(1, 0)}, k))
	f.Add(end{1, hash{1}, 1}.encode())
	f.Add(encodeHead(9, hash{3}))
	f.Fuzz(func(t *testing.T, v []byte) {
		if o, ok := decodeOutcome(v); ok {
			k, known := parseMachine(o.Machine)
			if !known || len(o.Kind) == 0 || !bytes.Equal(encodeOutcome(o, k), v) {
				t.Errorf("outcome %+v of %x", o, v)
			}
		}
		if e, err := decodeEnd(v); err == nil && !bytes.Equal(e.encode(), v) {
			t.Errorf("end %+v of %x", e, v)
		}
		if seq, h, ok := decodeHead(v); ok && !bytes.Equal(encodeHead(seq, h), v) {
			t.Errorf("head %d of %x", seq, v)
		}
		if m, seq, kind := keyOf(v); kind == indexKey && !bytes.Equal(keyIndex(m, seq), v) || kind == recordKey && !bytes.Equal(keyRecord(seq), v) {
			t.Errorf("the key %x was taken for record %d of %v", v, seq, m)
		}
	})
}

// Whatever stands in the head file, the younger of its whole slots counts, and
// the next write spoils the other one.
func FuzzHead(f *testing.F) {
	two := make([]byte, 2*headStride)
	copy(two, encodeHead(7, hash{1}))
	f.Add(bytes.Clone(two))
	copy(two[headStride:], encodeHead(8, hash{2}))
	f.Add(two)
	f.Add(two[:headStride+10])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, content []byte) {
		fs := vfs.NewMem()
		if err := errors.Join(fs.MkdirAll("/j", 0o700), writeFile(fs, "/j/head", content)); err != nil {
			t.Fatal(err)
		}
		seq, h, slot, ok, err := readHead(fs, "/j")
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return
		}
		at := int(slot) * headStride
		if !bytes.Equal(content[at:at+headSlot], encodeHead(seq, h)) {
			t.Fatalf("slot %d is not %d", slot, seq)
		}
		hd, err := openHead(fs, "/j", slot)
		if err != nil {
			t.Fatal(err)
		}
		if seq == ^uint64(0) {
			seq-- // there is none behind it
		}
		if err := errors.Join(hd.write(seq+1, hash{9}), hd.file.Close()); err != nil {
			t.Fatal(err)
		}
		now, h, other, ok, err := readHead(fs, "/j")
		if err != nil || !ok || now < seq+1 || now == seq+1 && (h != hash{9} || other == slot) {
			t.Fatalf("wrote %d behind slot %d, read %d in slot %d, %v, %v", seq+1, slot, now, other, ok, err)
		}
	})
}

// Whatever stands in a log or a table, recover makes a sound journal of it, and
// takes only what it can read.
func FuzzRecover(f *testing.F) {
	a := ages(f)[1]
	for name, v := range files(f, a.fs, "/j") {
		if strings.HasPrefix(name, "/j/db/") && len(v) > 0 {
			f.Add(name[len("/j/db/"):], []byte(v))
		}
	}
	f.Fuzz(func(t *testing.T, name string, content []byte) {
		if len(name) > 64 || len(name) == 0 || bytes.ContainsAny([]byte(name), "/\x00") || name == "." || name == ".." {
			return
		}
		fs := copied(t, a.fs)
		if err := writeFile(fs, "/j/db/"+name, content); err != nil {
			t.Fatal(err)
		}
		o := quiet(options(t, fs))
		s, err := Recover("/j", "/k", o)
		if errors.Is(err, ErrNewerFormat) {
			return
		}
		if err != nil {
			if s.Last > uint64(len(a.records)) { // it invents none in between
				return
			}
			t.Fatal(err)
		}
		k, err := Open("/k", o)
		if err != nil {
			t.Fatal(err)
		}
		defer closed(t, k)
		rep, err := k.Verify(context.Background())
		if err != nil || rep.Records != s.Records || rep.Lost != uint64(len(s.Lost)) || rep.Records+rep.Lost != s.Last {
			t.Fatalf("recovered %+v, verify %+v, %v", s, rep, err)
		}
	})
}
