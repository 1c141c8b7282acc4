package agent

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// TestListening: what is listened at on either family is seen, with the inode by
// which it is known as ours, until it is closed.
func TestListening(t *testing.T) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	seen := func(at netip.AddrPort) (socket, bool) {
		t.Helper()
		all, err := listening(fd, make([]byte, 32<<10))
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(all, func(s socket) bool { return s.at == at })
		if i < 0 {
			return socket{}, false
		}
		return all[i], true
	}
	for _, address := range []string{"127.0.0.1:0", "[::1]:0", "127.0.0.9:0", "[::]:0"} {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		at := l.Addr().(*net.TCPAddr).AddrPort()
		s, ok := seen(at)
		if !ok || !ownSockets("/proc/self/fd")[s.inode] {
			t.Errorf("%s: %v, %v", address, s, ok)
		}
		l.Close()
		if _, ok := seen(at); ok {
			t.Errorf("%s is closed, and seen still", address)
		}
	}
}

func TestListenersOf(t *testing.T) {
	all := func(texts ...string) (all []socket) {
		for i, text := range texts {
			all = append(all, socket{netip.MustParseAddrPort(text), uint32(i + 1)})
		}
		return all
	}
	var many, first []string
	for port := range wire.MaxListeners + 3 {
		many = append(many, netip.AddrPortFrom(loopback4, uint16(port+1)).String())
		first = append(first, strconv.Itoa(port+1))
	}
	for name, test := range map[string]struct {
		all  []socket
		own  map[uint32]bool
		want []string // port, or address with port
		more uint32
	}{
		"none":           {},
		"plain":          {all: all("0.0.0.0:80", "127.0.0.1:90", "[::]:22", "[::1]:23"), want: []string{"22", "23", "80", "90"}},
		"both families":  {all: all("0.0.0.0:80", "[::]:80"), want: []string{"80"}},
		"its own":        {all: all("172.17.0.1:53", "10.0.0.1:5"), want: []string{"10.0.0.1:5", "172.17.0.1:53"}},
		"plain is first": {all: all("172.17.0.1:80", "127.0.0.1:80", "10.0.0.1:80"), want: []string{"80"}},
		"the agent's":    {all: all("0.0.0.0:80", "0.0.0.0:81"), own: map[uint32]bool{2: true}, want: []string{"80"}},
		"resolved's":     {all: all("127.0.0.53:53", "127.0.0.54:53", "127.0.0.53:80"), want: []string{"127.0.0.53:80"}},
		"link-local":     {all: all("169.254.1.1:80", "[fe80::1]:80")},
		"many":           {all: all(many...), want: first[:wire.MaxListeners], more: 3},
	} {
		r := listenersOf(test.all, test.own)
		var got []string
		for _, l := range r.GetListeners() {
			to := strconv.Itoa(int(l.GetPort()))
			if addr, ok := netip.AddrFromSlice(l.GetAddress()); ok {
				to = net.JoinHostPort(addr.String(), to)
			}
			got = append(got, to)
		}
		if !slices.Equal(got, test.want) || r.GetMore() != test.more {
			t.Errorf("%s: %v and %d more, want %v and %d", name, got, r.GetMore(), test.want, test.more)
		}
	}
}

func TestParseSocket(t *testing.T) {
	b := make([]byte, diagAnswerSize)
	b[0] = unix.AF_INET6
	copy(b[4:], []byte{0x1f, 0x90})
	copy(b[8:], netip.MustParseAddr("::ffff:10.0.0.1").AsSlice())
	b[diagAnswerSize-4] = 7
	s, err := parseSocket(b)
	if err != nil || s.at != netip.MustParseAddrPort("10.0.0.1:8080") || s.inode&0xff != 7 && s.inode>>24 != 7 {
		t.Errorf("%v, %v", s, err)
	}
	if _, err := parseSocket(b[:diagAnswerSize-1]); err == nil {
		t.Error("a short answer is taken")
	}
	if _, _, err := answers(nil, []byte("x")); err == nil {
		t.Error("a packet of one byte is taken")
	}
	refusal := make([]byte, unix.SizeofNlMsghdr+4)
	refusal[0], refusal[4] = byte(len(refusal)), unix.NLMSG_ERROR
	if _, _, err := answers(nil, refusal); !errors.Is(err, errNoDiag) {
		t.Errorf("a refusal: %v", err)
	}
}

// TestTellListeners: what there is is told at once, then what has changed, and
// nothing where nothing has.
func TestTellListeners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now atomic.Pointer[wire.ListenersReply]
		now.Store(&wire.ListenersReply{})
		var told []*wire.ListenersReply
		ctx, cancel := context.WithCancel(t.Context())
		over := make(chan error, 1)
		go func() {
			over <- tellListeners(ctx, func() (*wire.ListenersReply, error) { return now.Load(), nil }, func(r *wire.ListenersReply) error {
				told = append(told, proto.Clone(r).(*wire.ListenersReply))
				return nil
			})
		}()
		pass := func(want int) {
			t.Helper()
			<-time.After(10 * lookEvery)
			synctest.Wait()
			if len(told) != want {
				t.Fatalf("told %d times, want %d", len(told), want)
			}
		}
		pass(1)
		now.Store(&wire.ListenersReply{Listeners: []*wire.Listener{{Port: 80}}})
		pass(2)
		now.Store(&wire.ListenersReply{})
		pass(3)
		cancel()
		if err := <-over; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

// TestListenersCall: the agent's own are not told, and few may ask at once.
func TestListenersCall(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, c := serve(t, nil)
	for range maxLookers {
		s, err := c.Listeners(ctx, &wire.ListenersRequest{})
		if err != nil {
			t.Fatal(err)
		}
		r, err := s.Recv()
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range r.GetListeners() {
			if int(x.GetPort()) == l.Addr().(*net.TCPAddr).Port {
				t.Error("the agent's own is told")
			}
		}
	}
	s, err := c.Listeners(ctx, &wire.ListenersRequest{})
	if err == nil {
		_, err = s.Recv()
	}
	wantCode(t, err, codes.ResourceExhausted, errTooMany.Error())
}
