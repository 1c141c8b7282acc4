package tree

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A disk goes over a connection with its holes.
func TestPipeKeepsHoles(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	const size = 1 << 30
	if err := sparse(from, size); err != nil {
		t.Fatal(err)
	}
	var conn bytes.Buffer
	if err := errors.Join(Send(t.Context(), from, Into(&conn), &Stats{}), End(&conn, nil)); err != nil {
		t.Fatal(err)
	}
	if conn.Len() > 1<<20 {
		t.Errorf("%d bytes on the way", conn.Len())
	}
	if err := Receive(Target{Path: to}, From(&conn), &Stats{}); err != nil {
		t.Fatal(err)
	}
	var was, is unix.Stat_t
	if err := errors.Join(unix.Stat(from, &was), unix.Stat(to, &is)); err != nil || was.Size != is.Size || is.Blocks > was.Blocks {
		t.Errorf("%d bytes in %d blocks became %d in %d, %v", was.Size, was.Blocks, is.Size, is.Blocks, err)
	}
	f, err := os.Open(to)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for at, want := range map[int64]string{1 << 20: "near", 700 << 20: "far", size - 4: "last"} {
		b := make([]byte, len(want))
		if _, err := f.ReadAt(b, at); err != nil || string(b) != want {
			t.Errorf("at %d: %q, %v", at, b, err)
		}
	}
}

func sparse(path string, size int64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	err = f.Truncate(size)
	for at, text := range map[int64]string{1 << 20: "near", 700 << 20: "far", size - 4: "last"} {
		_, writeErr := f.WriteAt([]byte(text), at)
		err = errors.Join(err, writeErr)
	}
	return errors.Join(err, f.Close())
}

func TestPipeEnds(t *testing.T) {
	var conn bytes.Buffer
	sink := Into(&conn)
	if err := errors.Join(sink(file("")), sink(data(0, "abc")), End(&conn, syscall.ENOSPC)); err != nil {
		t.Fatal(err)
	}
	whole := bytes.Clone(conn.Bytes())
	err := Receive(Target{Path: filepath.Join(t.TempDir(), "x")}, From(&conn), &Stats{})
	if f, ok := errors.AsType[*FailedError](err); !ok || f.Why != syscall.ENOSPC.Error() {
		t.Errorf("what the sender says: %v", err)
	}
	for n := range whole {
		err := Receive(Target{Path: filepath.Join(t.TempDir(), "x")}, From(bytes.NewReader(whole[:n])), &Stats{})
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%d of %d bytes: %v", n, len(whole), err)
		}
	}
	long := errors.New(strings.Repeat("x", 2*maxWhy) + "\xff")
	conn.Reset()
	if err := End(&conn, long); err != nil || conn.Len() != 4+maxWhy {
		t.Errorf("%d bytes, %v", conn.Len(), err)
	}
	for _, in := range []string{"\x7f\xff\xff\xffx", "\xff\xff\xff\xffx", "\x00\x00\x00\x01\xff"} {
		if _, err := From(strings.NewReader(in))(); !errors.Is(err, ErrParts) {
			t.Errorf("%q: %v", in, err)
		}
	}
}

// FuzzFrom: whatever comes over a connection, each part is bounded, and what was
// written comes back.
func FuzzFrom(f *testing.F) {
	var conn bytes.Buffer
	sink := Into(&conn)
	if err := errors.Join(sink(file("")), sink(data(3, "abc")), sink(end(9)), End(&conn, nil)); err != nil {
		f.Fatal(err)
	}
	f.Add(conn.Bytes())
	f.Add([]byte("\x80\x00\x00\x02no"))
	f.Fuzz(func(t *testing.T, in []byte) {
		next, ended := From(bytes.NewReader(in)), false
		for range len(in) + 1 {
			p, err := next()
			if err != nil {
				ended = true
				break
			}
			var again bytes.Buffer
			if err := Into(&again)(p); err != nil {
				t.Fatal(err)
			}
			if q, err := From(&again)(); err != nil || q.String() != p.String() {
				t.Fatalf("%v became %v, %v", p, q, err)
			}
		}
		if !ended {
			t.Fatal("more parts than bytes")
		}
	})
}
