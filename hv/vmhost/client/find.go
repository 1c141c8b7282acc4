package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/arcboxlabs/arcbox-engine/hv/vmhost/api"
)

// maxTail bounds what Tail reads.
const maxTail = 8 << 20

// Found is what the lock and the VM host say. Either Lock, Hello or Mute is
// set.
type Found struct {
	Lock    *Lock      // the lock was free and is this process's now
	Hello   *api.Hello // it is held, and this VM host answers
	Mute    bool       // it is held, and nobody answered while ctx lasted
	Note    *api.Note  // beside Lock: the exit note, of whatever launch
	NoteErr error      // beside Lock: an exit note is there and can't be read
}

// Find tells whether the lock is free, and who answers where it is not. A held
// lock with a VM host that answers costs one connection. While none answers,
// one connection stays open until ctx is over; then the result is Mute.
func Find(ctx context.Context, p Place) (Found, error) {
	if _, err := api.SocketPath(p.RunDir); err != nil {
		return Found{}, err
	}
	lock, err := tryLock(p)
	for {
		if err == nil {
			f := Found{Lock: lock}
			f.Note, f.NoteErr = ReadNote(p)
			return f, nil
		}
		if !errors.Is(err, ErrHeld) {
			return Found{}, err
		}
		hello, helloErr := Connect(p).hello(ctx)
		switch {
		case helloErr == nil:
			return Found{Hello: &hello}, nil
		case ctx.Err() != nil:
			return Found{Mute: true}, nil
		}
		// Nobody listens, or what answers makes no sense: it is just ending,
		// just starting, or what it started lives on.
		lock, err = TakeLock(ctx, p)
	}
}

// ReadNote reads the exit note; nil, nil where there is none.
func ReadNote(p Place) (*api.Note, error) {
	f, err := os.OpenFile(filepath.Join(p.Dir, api.NoteFile), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("exit note: %w", err)
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, api.MaxNote+1))
	if err != nil {
		return nil, fmt.Errorf("exit note: %w", err)
	}
	n, err := api.DecodeNote(data)
	if err != nil {
		return nil, err
	}
	return &n, nil
}

// Tail returns the last bytes, at most limit, of one of the files that a VM host
// writes (api.ConsoleFile, AgentLogFile, OutFile, ErrFile), over both halves of
// a rotated one, from the start of a line where it can. What a terminal would
// obey is spelt out. A file that is not there is empty.
func Tail(p Place, file string, limit int64) (string, error) {
	if !slices.Contains([]string{api.ConsoleFile, api.AgentLogFile, api.OutFile, api.ErrFile}, file) {
		return "", fmt.Errorf("tail: %q is no file of a VM host", file)
	}
	limit = min(limit, maxTail)
	if limit <= 0 {
		return "", nil
	}
	path := filepath.Join(p.Dir, file)
	// One byte more tells whether the first line is whole.
	data, info, err := lastBytes(path, limit+1)
	if err != nil {
		return "", err
	}
	if left := limit + 1 - int64(len(data)); left > 0 {
		older, olderInfo, err := lastBytes(path+".1", left)
		if err != nil {
			return "", err
		}
		// Where it was rotated in between, both are the same file.
		if info == nil || olderInfo == nil || !os.SameFile(info, olderInfo) {
			data = append(older, data...)
		}
	}
	if int64(len(data)) > limit {
		if i := bytes.IndexByte(data, '\n'); i >= 0 && i < len(data)-1 {
			data = data[i:]
		}
		data = data[1:]
	}
	return harmless(data), nil
}

// lastBytes reads the end of a file; nothing where there is no file.
func lastBytes(path string, limit int64) ([]byte, os.FileInfo, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("tail: %w", err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, fmt.Errorf("tail: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("tail: %s is not a regular file", path)
	}
	size := min(info.Size(), limit)
	data, err := io.ReadAll(io.NewSectionReader(f, info.Size()-size, size))
	if err != nil {
		return nil, nil, fmt.Errorf("tail: %w", err)
	}
	return data, info, nil
}

// harmless spells out control characters and bytes that are no text, so that
// a guest can't talk to the terminal of who reads.
func harmless(data []byte) string {
	var b strings.Builder
	for len(data) > 0 {
		r, n := utf8.DecodeRune(data)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, data[0])
		case r == '\n', r == '\t', unicode.IsPrint(r):
			b.WriteRune(r)
		case r == '\r' && len(data) > 1 && data[1] == '\n': // the line ends anyway
		case r < 0x20 || r == 0x7f:
			b.WriteString("^" + string('@'^r))
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
		data = data[n:]
	}
	return b.String()
}
