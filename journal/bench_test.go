package journal

import (
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
func parallel(b *testing.B, write func(writer, i int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ResetTimer()
	for w := range benchWriters {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
				write(w, int(i))
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

func BenchmarkAppend64(b *testing.B) {
	j, err := Open(b.TempDir(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	for w := range benchWriters {
		app(b, j, created(w, "m"))
	}
	parallel(b, func(w, i int) {
		if _, err := j.Append(benchRecord(w, i)); err != nil {
			b.Error(err)
		}
	})
	closed(b, j)
}

// BenchmarkRawPebble64 is what Append64 is held against: the same keys and
// bytes, as one synced commit a record through Pebble's own group commit.
func BenchmarkRawPebble64(b *testing.B) {
	o := Options{}.withDefaults()
	db, err := pebble.Open(b.TempDir(), o.pebble(false, nil))
	if err != nil {
		b.Fatal(err)
	}
	k, _ := parseMachine(id(1))
	v, err := encode(benchRecord(1, 1), k)
	if err != nil {
		b.Fatal(err)
	}
	parallel(b, func(w, i int) {
		k, _ := parseMachine(id(w))
		batch := db.NewBatch()
		_ = batch.Set(keyRecord(uint64(i)), v, nil)
		_ = batch.Set(keyIndex(k, uint64(i)), nil, nil)
		if err := batch.Commit(pebble.Sync); err != nil {
			b.Error(err)
		}
	})
	if err := db.Close(); err != nil {
		b.Fatal(err)
	}
}

var _ = os.Args
var _ = runtime.GC
var _ = time.Now
