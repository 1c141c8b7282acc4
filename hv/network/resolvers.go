package network

import (
	"bufio"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"
)

// Bounds of the host's list of name servers.
const (
	maxServers   = 3
	maxResolvers = 64 << 10
)

// resolvers are the name servers that a file names. It is read again when it
// has changed: a host moves from network to network.
type resolvers struct {
	path string

	mu    sync.Mutex
	mtime time.Time
	size  int64
	known []string
}

// servers are their addresses, with ports.
func (r *resolvers) servers() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	fi, err := os.Stat(r.path)
	if err != nil {
		return r.known
	}
	if fi.ModTime().Equal(r.mtime) && fi.Size() == r.size {
		return r.known
	}
	f, err := os.Open(r.path)
	if err != nil {
		return r.known
	}
	defer func() { _ = f.Close() }()
	r.mtime, r.size, r.known = fi.ModTime(), fi.Size(), parseResolvers(f)
	return r.known
}

// parseResolvers reads the nameserver lines of a resolv.conf. Without any, a
// resolver is asked of the host itself, as resolv.conf(5) has it.
func parseResolvers(r io.Reader) []string {
	var found []string
	lines := bufio.NewScanner(io.LimitReader(r, maxResolvers))
	for lines.Scan() && len(found) < maxServers {
		words := strings.Fields(lines.Text())
		if len(words) < 2 || words[0] != "nameserver" {
			continue
		}
		if a, err := netip.ParseAddr(words[1]); err == nil {
			found = append(found, net.JoinHostPort(a.String(), "53"))
		}
	}
	if len(found) == 0 {
		found = []string{"127.0.0.1:53"}
	}
	return found
}
