package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// sharesFile is where the initramfs tells of the launch's shares.
const sharesFile = "/arcbox/" + wire.SharesSecret

// Bounds of shares.
const (
	shareTime = 10 * time.Second // for all to be mounted, while the boot waits
	shareMost = time.Minute      // that a caller may wait
	maxShares = 64
)

// shares are the launch's, and how each does.
type shares struct {
	list  []wire.Share
	mount func(wire.Share) error
	cover func(on string) error
	done  chan struct{} // closed when each is mounted, or will be waited for no longer

	mu      sync.Mutex
	state   []string // why it is not mounted, as list
	covered []bool
}

// takeShares reads what there is to mount; no file is none.
func takeShares(path string) ([]wire.Share, error) {
	text, err := takeFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var list []wire.Share
	if err == nil {
		err = json.Unmarshal(text, &list)
	}
	if err == nil && len(list) > maxShares {
		err = fmt.Errorf("%d of them, at most %d", len(list), maxShares)
	}
	return list, err
}

func newShares(list []wire.Share) *shares {
	s := &shares{list: list, mount: mountShare, cover: coverShare, done: make(chan struct{}), state: make([]string, len(list)), covered: make([]bool, len(list))}
	for i := range s.state {
		s.state[i] = "not mounted yet"
	}
	return s
}

// mountAll mounts them beside each other, and waits for a time. A host that does not
// answer holds the thread that mounts for ever, so process 1 must not be the one that
// does it where it will become another program.
func (s *shares) mountAll(log *slog.Logger) {
	defer close(s.done)
	var all sync.WaitGroup
	over := make(chan struct{})
	for i, share := range s.list {
		all.Go(func() {
			err := s.mount(share)
			s.mu.Lock()
			defer s.mu.Unlock()
			s.state[i] = ""
			if err != nil {
				s.state[i] = err.Error()
				log.Warn("share", "on", share.On, "tag", share.Tag, "err", err)
				s.lose(i)
			}
		})
	}
	go func() { all.Wait(); close(over) }()
	select {
	case <-over:
	case <-time.After(shareTime):
		log.Warn("share", "err", "the host did not answer in time")
	}
}

// mountShare mounts one. No program of it runs as another user, and no device of it
// is one: what the host has there, the host answers for.
func mountShare(s wire.Share) error {
	if !filepath.IsAbs(s.On) {
		return fmt.Errorf("%q is no absolute path", s.On)
	}
	if err := os.MkdirAll(s.On, 0o755); err != nil {
		return err
	}
	flags := uintptr(unix.MS_NOSUID | unix.MS_NODEV)
	if !s.Writable {
		flags |= unix.MS_RDONLY
	}
	err := unix.Mount(s.Tag, s.On, "virtiofs", flags, "")
	switch {
	case errors.Is(err, unix.ENODEV):
		return errors.New("the guest's kernel has no virtiofs")
	case err != nil:
		return fmt.Errorf("mount on %s: %w", s.On, err)
	case s.Rosetta:
		return useRosetta(s.On)
	}
	return nil
}

// lose covers a share that can't be used, once; mu is held.
func (s *shares) lose(i int) {
	if s.covered[i] {
		return
	}
	if err := s.cover(s.list[i].On); err != nil {
		s.state[i] += "; and its place can't be covered: " + err.Error()
	}
	s.covered[i] = true
}

// coverShare puts an empty directory that can't be written to over a share: what is
// read there is missed, and what is written there is refused, instead of waiting for
// ever, or ending up on the machine's own disk. To look at the share first would be
// to wait for ever.
func coverShare(on string) error {
	return unix.Mount("tmpfs", on, "tmpfs", unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "size=4k,mode=0555")
}

// Shares says how the shares do, once that is known.
func (a *Agent) Shares(ctx context.Context, req *wire.SharesRequest) (*wire.SharesReply, error) {
	s := a.opts.Shares
	if s == nil {
		return &wire.SharesReply{}, nil
	}
	wait := time.Duration(req.GetWaitNanos())
	if wait < 0 || wait > shareMost {
		return nil, status.Errorf(codes.InvalidArgument, "wait: %v, want 0 to %v", wait, shareMost)
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	select {
	case <-s.done:
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	out := &wire.SharesReply{}
	for i, share := range s.list {
		if slices.Contains(req.GetLost(), share.Tag) {
			s.lose(i)
		}
		out.Shares = append(out.Shares, &wire.ShareState{Tag: share.Tag, Error: s.state[i]})
	}
	return out, nil
}
