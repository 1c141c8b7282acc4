package hosts

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/arcboxlabs/arcbox-engine/actors"
	"github.com/arcboxlabs/arcbox-engine/hv/vmhost/api"
	"github.com/arcboxlabs/arcbox-engine/hv/vmhost/client"
)

// What a record keeps of a console.
const (
	tailBytes = 4 << 10
	tailLines = 20
	tailWidth = 200 // characters of one line
)

// Delete implements actors.Dirs. The lock file goes last, so that whoever comes
// in between still finds it held.
func (w *World) Delete(_ context.Context, ref actors.Ref, lock actors.Lock) error {
	p := w.place(ref)
	w.forget(ref)
	defer func() {
		if lock != nil {
			_ = lock.Close() // read-only; nothing can be lost
		}
	}()
	w.unlinkKeys(ref)
	if err := os.RemoveAll(p.RunDir); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	entries, err := os.ReadDir(p.Dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	for _, e := range entries {
		if e.Name() == api.LockFile {
			continue
		}
		if err := os.RemoveAll(filepath.Join(p.Dir, e.Name())); err != nil {
			return fmt.Errorf("delete: %w", err)
		}
	}
	return os.RemoveAll(p.Dir)
}

// IDs implements actors.Dirs.
func (w *World) IDs(context.Context) ([]string, error) {
	entries, err := os.ReadDir(w.Machines)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list machines' directories: %w", err)
	}
	var ids []string
	for _, e := range entries {
		if _, err := uuid.Parse(e.Name()); err == nil && e.IsDir() {
			ids = append(ids, e.Name())
		}
	}
	return ids, nil
}

// Tail implements actors.Dirs. It is of the last launch alone.
func (w *World) Tail(ref actors.Ref) string {
	text, err := client.Tail(w.place(ref), api.ConsoleFile, tailBytes)
	if err != nil {
		w.Logger.Warn("console's tail", "machine", ref.Name, "err", err)
		return ""
	}
	return lastLaunch(text)
}

// lastLaunch is the last lines behind the line with which the last launch
// began, which may be so far up that it is not there.
func lastLaunch(text string) string {
	if at := strings.LastIndex(text, api.LaunchMark); at >= 0 {
		_, text, _ = strings.Cut(text[at:], "\n")
	}
	return lastLines(text)
}

// lastLines are the last lines of a text, cut to a width.
func lastLines(text string) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	lines = lines[max(0, len(lines)-tailLines):]
	for i, l := range lines {
		if r := []rune(l); len(r) > tailWidth {
			lines[i] = string(r[:tailWidth]) + "…"
		}
	}
	return strings.Join(lines, "\n")
}

// Path implements actors.Dirs.
func (w *World) Path(ref actors.Ref) (dir, run string) {
	p := w.place(ref)
	return p.Dir, p.RunDir
}

var logFiles = map[string]string{"console": api.ConsoleFile, "agent": api.AgentLogFile, "provision": provisionLog}

// followEvery is how often a followed log is looked at.
const followEvery = 200 * time.Millisecond

// Log implements actors.Dirs.
func (w *World) Log(ctx context.Context, ref actors.Ref, which string, tail int64, follow bool, conn net.Conn) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // the client never writes: an end of its stream is its end
		_, _ = io.Copy(io.Discard, conn)
		cancel()
	}()
	path := filepath.Join(w.place(ref).Dir, logFiles[which])
	old, err := openLog(path + ".1")
	if err != nil {
		return err
	}
	defer closeLog(old)
	now, err := openLog(path)
	if err != nil {
		return err
	}
	defer func() { closeLog(now) }()
	skip := size(old) + size(now) - tail
	for _, f := range []*os.File{old, now} {
		if f == nil {
			continue
		}
		if skip > 0 {
			start := min(skip, size(f))
			skip -= start
			if _, err := f.Seek(start, io.SeekStart); err != nil {
				return fmt.Errorf("log: %w", err)
			}
		}
		if _, err := io.Copy(conn, f); err != nil {
			return fmt.Errorf("log: %w", err)
		}
	}
	if !follow {
		return nil
	}
	now, err = followLog(ctx, path, now, conn)
	return err
}

// followLog copies what is appended, over rotations, until ctx is over. It
// returns the file that is open in the end.
func followLog(ctx context.Context, path string, now *os.File, conn net.Conn) (*os.File, error) {
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return now, nil
		case <-tick.C:
		}
		for {
			if now != nil {
				if _, err := io.Copy(conn, now); err != nil {
					return now, fmt.Errorf("follow log: %w", err)
				}
			}
			next, err := openLog(path)
			if err != nil {
				return now, err
			}
			if next == nil || same(now, next) {
				closeLog(next)
				break
			}
			if now != nil { // what was written before the rotation
				if _, err := io.Copy(conn, now); err != nil {
					closeLog(next)
					return now, fmt.Errorf("follow log: %w", err)
				}
			}
			closeLog(now)
			now = next
		}
	}
}

// openLog opens a log that a VM host writes; nil where there is none.
func openLog(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("log: %w", err)
	}
	return f, nil
}

func closeLog(f *os.File) {
	if f != nil {
		_ = f.Close() // read-only
	}
}

func size(f *os.File) int64 {
	if f == nil {
		return 0
	}
	fi, err := f.Stat()
	if err != nil {
		return 0
	}
	return fi.Size()
}

func same(a, b *os.File) bool {
	if a == nil {
		return false
	}
	fa, errA := a.Stat()
	fb, errB := b.Stat()
	return errA == nil && errB == nil && os.SameFile(fa, fb) && fb.Size() >= fa.Size()
}
