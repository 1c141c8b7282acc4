package vmhost

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/arcboxlabs/arcbox-engine/hv/vmhost/api"
	"github.com/arcboxlabs/arcbox-engine/hv/vmhost/client"
)

// TestConsoleWithoutLineEnds: a guest that prints lines of a megabyte, or never
// ends one, costs the disk two files of its bound and memory nothing; who reads
// the tail gets no more than asked for, spelt out at four times its length.
func TestConsoleWithoutLineEnds(t *testing.T) {
	const bound, limit, written = 1 << 20, 4 << 10, 64
	dir := t.TempDir()
	r := newRotated(filepath.Join(dir, api.ConsoleFile), bound)
	chunk := bytes.Repeat([]byte{0xc2, 0x9b}, 512<<10) // U+009B, which some terminals obey
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range written {
		if n, err := r.Write(chunk); n != len(chunk) || err != nil {
			t.Fatal(n, err)
		}
	}
	runtime.ReadMemStats(&after)
	r.close()
	var size int64
	for _, name := range []string{api.ConsoleFile, api.ConsoleFile + ".1"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		size += info.Size()
	}
	tail, err := client.Tail(client.Place{Dir: dir}, api.ConsoleFile, limit)
	allocated := after.TotalAlloc - before.TotalAlloc
	t.Logf("%d MiB written: %d KiB on disk, %d KiB allocated, a tail of %d bytes", written, size>>10, allocated>>10, len(tail))
	if err != nil || size > 2*bound || len(tail) > 4*limit || bytes.ContainsRune([]byte(tail), 0x9b) || allocated > 4<<20 {
		t.Errorf("%v", err)
	}
}
