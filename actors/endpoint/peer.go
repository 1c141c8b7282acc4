package endpoint

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"syscall"

	"github.com/asynkron/protoactor-go/actor"
	"google.golang.org/grpc/credentials"
)

// HeaderPrincipal is the message header that says who asks.
const HeaderPrincipal = "principal"

// Principal says who asks, from the header of a message; "" where the message
// did not come from a client.
func Principal(h actor.ReadonlyMessageHeader) string {
	if h == nil {
		return ""
	}
	return h.Get(HeaderPrincipal)
}

// ownOrRoot is the rule for both sockets.
func ownOrRoot(uid uint32) bool { return uid == 0 || int(uid) == os.Geteuid() }

// peerUID asks the kernel who is at the other end.
func peerUID(c net.Conn) (uint32, error) {
	s, ok := c.(syscall.Conn)
	if !ok {
		return 0, fmt.Errorf("endpoint: a %T has no peer credentials", c)
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return 0, fmt.Errorf("endpoint: peer credentials: %w", err)
	}
	var uid uint32
	var got error
	if err := raw.Control(func(fd uintptr) { uid, got = uidOf(int(fd)) }); err != nil {
		return 0, fmt.Errorf("endpoint: peer credentials: %w", err)
	}
	if got != nil {
		return 0, fmt.Errorf("endpoint: peer credentials: %w", got)
	}
	return uid, nil
}

// peerPID is the process that made the connection, by the kernel's word; 0
// where that is not known. It only counts connections.
func peerPID(c *net.UnixConn) int {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0
	}
	pid := 0
	if err := raw.Control(func(fd uintptr) { pid, _ = pidOf(int(fd)) }); err != nil {
		return 0
	}
	return pid
}

// principalOf names the peer of a connection, or says why it is turned away.
func principalOf(c net.Conn, allowed func(uint32) bool) (string, error) {
	uid, err := peerUID(c)
	if err != nil {
		return "", err
	}
	if !allowed(uid) {
		return "", fmt.Errorf("endpoint: the peer is user %d, allowed are the engine's own (%d) and 0", uid, os.Geteuid())
	}
	return fmt.Sprintf("uid:%d", uid), nil
}

// peerCredentials is gRPC's view of it: the handshake is the kernel's word.
type peerCredentials struct {
	allowed func(uid uint32) bool
	log     *slog.Logger // gRPC keeps the error of a handshake to itself
}

// peer is what a stream's context knows about its connection.
type peer struct {
	credentials.CommonAuthInfo
	principal string
	role      string
	conn      *watched
}

// AuthType implements credentials.AuthInfo.
func (peer) AuthType() string { return "unix-peer" }

// ServerHandshake implements credentials.TransportCredentials.
func (p peerCredentials) ServerHandshake(c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	role := owner
	principal, err := "", error(nil)
	if guest, far := c.(*guestConn); far { // TLS has been spoken, and the client is known
		principal, role = guest.client.Principal(), guest.client.Role
	} else {
		principal, err = principalOf(c, p.allowed)
	}
	if err != nil {
		p.log.Warn("refused a connection", "err", err)
		return nil, nil, err
	}
	w := &watched{Conn: c, log: p.log, principal: principal}
	return w, peer{credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}, principal, role, w}, nil
}

// ClientHandshake implements credentials.TransportCredentials; nobody calls it.
func (peerCredentials) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("endpoint: the gateway dials nobody")
}

// Info implements credentials.TransportCredentials.
func (peerCredentials) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "unix-peer"}
}

// Clone implements credentials.TransportCredentials.
func (p peerCredentials) Clone() credentials.TransportCredentials { return p }

// OverrideServerName implements credentials.TransportCredentials.
func (peerCredentials) OverrideServerName(string) error { return nil }
