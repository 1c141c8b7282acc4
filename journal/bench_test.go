package journal

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/arcboxlabs/arcbox-engine/fsm"
	"github.com/cockroachdb/pebble/v2"
)

const benchWriters = 64

// benchRecord is of ordinary size: about what launched and ready weigh.
func benchRecord(n, i int) fsm.Record {
	r := health(n, fmt.Sprintf("the agent has not answered for %d ms; the last address was 192.168.64.%d", i, n))
	r.Launch, r.Principal = "01900000-0000-7000-8000-0123456789ab", "engine"
	return r
}

// each of the writers waits for its own record before it writes the next.
func parallel(b *testing.B, write func(i int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ResetTimer()
	for range benchWriters {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
				write(int(i))
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

func benchRecords(n int) []fsm.Record {
	recs := make([]fsm.Record, n+1)
	for i := range recs {
		recs[i] = benchRecord(i%benchWriters, i)
	}
	return recs
}

func BenchmarkAppend64(b *testing.B) {
	recs := benchRecords(b.N)
	j, err := Open(b.TempDir(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	for w := range benchWriters {
		app(b, j, created(w, "m"))
	}
	parallel(b, func(i int) {
		if _, err := j.Append(recs[i]); err != nil {
			b.Error(err)
		}
	})
	closed(b, j)
}

// BenchmarkRawPebble64 is what Append64 is held against: the same keys and
// bytes, one synced commit a record, through Pebble's own group commit.
func BenchmarkRawPebble64(b *testing.B) {
	type pair struct{ key, index, value []byte }
	var pairs []pair
	var before hash
	for i, r := range benchRecords(b.N) {
		k, _ := parseMachine(r.Machine)
		v, err := encode(r, k, new(bytes.Buffer))
		if err != nil {
			b.Fatal(err)
		}
		before = seal(v, uint64(i), time.Now(), before)
		pairs = append(pairs, pair{keyRecord(uint64(i)), keyIndex(k, uint64(i)), v})
	}
	db, err := pebble.Open(b.TempDir(), Options{}.withDefaults().pebble(false))
	if err != nil {
		b.Fatal(err)
	}
	parallel(b, func(i int) {
		batch := db.NewBatch()
		if err := errors.Join(batch.Set(pairs[i].key, pairs[i].value, nil), batch.Set(pairs[i].index, nil, nil),
			batch.Commit(pebble.Sync), batch.Close()); err != nil {
			b.Error(err)
		}
	})
	if err := db.Close(); err != nil {
		b.Fatal(err)
	}
}

// fixture is a journal of 10,000 machines and a million records, as an engine
// that was killed leaves it: the last snapshotLag records are tail.
func fixture(b *testing.B) string {
	const machines, records = 10_000, 1_000_000
	dir := b.TempDir()
	j, err := Open(dir, Options{})
	if err != nil {
		b.Fatal(err)
	}
	bulk, now := newBulk(j), time.Now().Add(-keep24h).UTC()
	for i := range records {
		r := created(i%machines, fmt.Sprintf("machine-%d", i%machines))
		if i >= machines {
			r = benchRecord(i%machines, i)
		}
		r.Seq, r.Time, r.To = uint64(i+1), now, kinds[r.Kind]
		k, _ := parseMachine(r.Machine)
		v, err := encode(r, k, new(bytes.Buffer))
		if err == nil {
			err = bulk.record(r, v)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	if err := bulk.finish(); err != nil {
		b.Fatal(err)
	}
	closed(b, j)
	if j, err = Open(dir, Options{}); err != nil {
		b.Fatal(err)
	}
	for i := range snapshotLag - 1 {
		app(b, j, benchRecord(i%machines, i))
	}
	image := b.TempDir() // as it is on disk now: without what Close writes
	head, err := os.ReadFile(filepath.Join(dir, "head"))
	if err := errors.Join(err, os.WriteFile(filepath.Join(image, "head"), head, 0o600),
		j.db.Checkpoint(filepath.Join(image, "db"))); err != nil {
		b.Fatal(err)
	}
	closed(b, j)
	return image
}

// BenchmarkOpen10k1M is what a start of the engine spends here.
func BenchmarkOpen10k1M(b *testing.B) {
	image := fixture(b)
	for b.Loop() {
		b.StopTimer()
		dir := b.TempDir()
		if err := os.CopyFS(dir, os.DirFS(image)); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		j, err := Open(dir, Options{Ballast: -1})
		if err != nil {
			b.Fatal(err)
		}
		if n, last := len(j.Machines()), j.Last(); n != 10_000 || last != 1_000_000+snapshotLag-1 {
			b.Fatalf("%d machines, %d records", n, last)
		}
		b.StopTimer()
		reportMemory(b)
		closed(b, j)
		b.StartTimer()
	}
}

func reportMemory(b *testing.B) {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	b.ReportMetric(float64(m.HeapAlloc)/(1<<20), "MiB-heap")
}

// grown is an open journal of a million records, as a writer leaves it.
func grown(b *testing.B, machines int) *Journal {
	const records = 1_000_000
	now := time.Now().Add(-records * time.Millisecond)
	j, err := Open(b.TempDir(), Options{Ballast: -1, Now: func() time.Time { now = now.Add(time.Millisecond); return now }})
	if err != nil {
		b.Fatal(err)
	}
	var batch []fsm.Record
	for i := range records {
		if i < machines {
			batch = append(batch, created(i, fmt.Sprintf("machine-%d", i)))
		} else {
			batch = append(batch, benchRecord(i%machines, i))
		}
		if len(batch) == 500 {
			app(b, j, batch...)
			batch = batch[:0]
		}
	}
	return j
}

// BenchmarkAt1M looks at times all over a million records: the list, and one
// machine.
func BenchmarkAt1M(b *testing.B) {
	for _, machines := range []int{100, 1000, 10_000} {
		j := grown(b, machines)
		first, err := j.Entry(1)
		if err != nil {
			b.Fatal(err)
		}
		last, err := j.Entry(j.Last())
		if err != nil {
			b.Fatal(err)
		}
		span, r := last.Time.Sub(first.Time), rand.New(rand.NewPCG(1, 1))
		at := func() uint64 {
			seq, err := j.SeqAt(first.Time.Add(time.Duration(r.Int64N(int64(span)))))
			if err != nil || seq == 0 {
				b.Fatal(seq, err)
			}
			return seq
		}
		b.Run(fmt.Sprintf("list/%d", machines), func(b *testing.B) {
			for b.Loop() {
				if p, err := j.At(at()); err != nil || len(p.Machines) == 0 {
					b.Fatal(len(p.Machines), err)
				}
			}
		})
		b.Run(fmt.Sprintf("one/%d", machines), func(b *testing.B) {
			for b.Loop() {
				if _, _, err := j.MachineAt(id(0), at()); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("verify/%d", machines), func(b *testing.B) {
			n := uint64(0)
			for b.Loop() {
				rep, err := j.Verify(b.Context())
				if err != nil || len(rep.Faults) > 0 {
					b.Fatal(rep, err)
				}
				n += rep.Records
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "records/s")
		})
		closed(b, j)
	}
}
