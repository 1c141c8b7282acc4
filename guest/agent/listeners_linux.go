package agent

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// lookEvery is how often the kernel is asked what listens, while somebody wants to
// know: nothing tells of listen(2). sock_diag's own news are of sockets that go,
// the tracepoint that would tell (sock:inet_sock_set_state) and BPF's hook
// (TCP_LISTEN_CB) are not in every kernel. Who starts a server does not notice a
// second, and the question costs some ten microseconds: the kernel goes through
// its sockets that listen and no others.
const lookEvery = time.Second

// maxLookers is how many may want to know at once.
const maxLookers = 8

// Listeners tells what listens, and again what has changed.
func (a *Agent) Listeners(_ *wire.ListenersRequest, stream grpc.ServerStreamingServer[wire.ListenersReply]) error {
	select {
	case a.lookers <- struct{}{}:
		defer func() { <-a.lookers }()
	default:
		return status.Error(codes.ResourceExhausted, errTooMany.Error())
	}
	look, end, err := newLook()
	if err == nil {
		defer end()
		err = tellListeners(stream.Context(), look, stream.Send)
	}
	if errors.Is(err, errNoDiag) {
		return status.Error(codes.FailedPrecondition, err.Error())
	}
	return err
}

// tellListeners sends what look sees, each time that it is something else.
func tellListeners(ctx context.Context, look func() (*wire.ListenersReply, error), send func(*wire.ListenersReply) error) error {
	ticks := time.NewTicker(lookEvery)
	defer ticks.Stop()
	var told *wire.ListenersReply
	for {
		now, err := look()
		if err != nil {
			return err
		}
		if told == nil || !proto.Equal(now, told) {
			if err := send(now); err != nil {
				return err
			}
			told = now
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticks.C:
		}
	}
}

// newLook makes a way to see what listens.
func newLook() (look func() (*wire.ListenersReply, error), end func(), err error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", errNoDiag, err)
	}
	buf := make([]byte, 32<<10)
	var last []socket
	said := &wire.ListenersReply{}
	return func() (*wire.ListenersReply, error) {
		all, err := listening(fd, buf)
		if err == nil && !slices.Equal(all, last) {
			last, said = all, listenersOf(all, ownSockets("/proc/self/fd"))
		}
		return said, err
	}, func() { _ = unix.Close(fd) }, nil
}

// listening asks for the sockets of both families that listen.
func listening(fd int, buf []byte) (all []socket, err error) {
	const listen = 10 // TCP_LISTEN
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		head := make([]byte, unix.SizeofNlMsghdr, unix.SizeofNlMsghdr+diagRequestSize)
		binary.NativeEndian.PutUint32(head, uint32(cap(head)))
		binary.NativeEndian.PutUint16(head[4:], unix.SOCK_DIAG_BY_FAMILY)
		binary.NativeEndian.PutUint16(head[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
		if err := unix.Sendto(fd, append(head, diagRequest(family, 1<<listen)...), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
			return nil, fmt.Errorf("sock_diag: %w", err)
		}
		for more := true; more; {
			n, _, err := unix.Recvfrom(fd, buf, 0)
			if err != nil {
				return nil, fmt.Errorf("sock_diag: %w", err)
			}
			if all, more, err = answers(all, buf[:n]); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}

// answers adds those of one packet, and tells whether more packets come.
func answers(all []socket, packet []byte) (_ []socket, more bool, err error) {
	messages, err := syscall.ParseNetlinkMessage(packet)
	if err == nil && len(messages) == 0 {
		err = fmt.Errorf("a packet of %d bytes", len(packet))
	}
	if err != nil {
		return nil, false, fmt.Errorf("sock_diag: %w", err)
	}
	for _, m := range messages {
		switch m.Header.Type {
		case unix.NLMSG_DONE:
			return all, false, nil
		case unix.NLMSG_ERROR:
			return nil, false, errNoDiag
		}
		s, err := parseSocket(m.Data)
		if err != nil {
			return nil, false, err
		}
		all = append(all, s)
	}
	return all, true, nil
}

// ownSockets are the inodes of this process's sockets: what the agent listens at by
// itself, such as for an ssh -R, leads out of the guest, and back to who asked.
func ownSockets(fds string) map[uint32]bool {
	own := map[uint32]bool{}
	names, _ := os.ReadDir(fds)
	for _, name := range names {
		to, _ := os.Readlink(filepath.Join(fds, name.Name()))
		text, ok := strings.CutPrefix(to, "socket:[")
		if !ok {
			continue
		}
		if inode, err := strconv.ParseUint(strings.TrimSuffix(text, "]"), 10, 32); err == nil {
			own[uint32(inode)] = true
		}
	}
	return own
}
