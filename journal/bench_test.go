package journal

import (
	"errors"
	"fmt"
	"os"
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
		v, err := encode(r, k)
		if err != nil {
			b.Fatal(err)
		}
		before = seal(v, uint64(i), time.Now(), before)
		pairs = append(pairs, pair{keyRecord(uint64(i)), keyIndex(k, uint64(i)), v})
	}
	db, err := pebble.Open(b.TempDir(), Options{}.withDefaults().pebble(false, nil))
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

var _ = os.Args
var _ = runtime.GC
