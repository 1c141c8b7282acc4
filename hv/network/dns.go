package network

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"

	"github.com/arcboxlabs/arcbox-engine/hv/network/lease"
)

const (
	dnsPort    = 53
	maxAsks    = 512 // questions to name servers under way, of all
	maxOwnAsks = 64  // of one machine
	maxTCPAsks = 256 // connections of guests that ask by TCP
	tcpAskTime = 30 * time.Second
	maxAnswer  = 65535
	plainSize  = 512 // bytes of an answer by UDP where the guest did not say that it takes more
	udpMost    = 4096
	ownTTL     = 5 // seconds that an answer about a machine holds
)

// serveDNS listens at the gateway.
func (n *Network) serveDNS() error {
	at := tcpip.FullAddress{NIC: nic, Addr: theirs(lease.Gateway), Port: dnsPort}
	u, err := gonet.DialUDP(n.stack, &at, nil, ipv4.ProtocolNumber)
	if err != nil {
		return fmt.Errorf("network: name server: %w", err)
	}
	t, err := gonet.ListenTCP(n.stack, at, ipv4.ProtocolNumber)
	if err != nil {
		return fmt.Errorf("network: name server: %w", err)
	}
	context.AfterFunc(n.life, func() {
		_ = u.Close()
		_ = t.Close()
	})
	n.running.Go(func() { n.answerUDP(u) })
	n.running.Go(func() { n.answerTCP(t) })
	return nil
}

// answerUDP answers what it knows by itself at once, and has the rest asked
// beside.
func (n *Network) answerUDP(u *gonet.UDPConn) {
	tell := func(answer []byte, to net.Addr) { // as SendDatagram does
		_ = u.SetWriteDeadline(time.Now().Add(roomWait))
		_, _ = u.WriteTo(answer, to)
	}
	buf := make([]byte, udpMost)
	for {
		k, from, err := u.ReadFrom(buf)
		if err != nil {
			return
		}
		m := n.asker(from)
		if m == nil {
			continue
		}
		query := buf[:k]
		answer, forward := n.answer(m, query)
		if !forward {
			if answer != nil {
				tell(answer, from)
			}
			continue
		}
		query = append([]byte(nil), query...)
		go func() { tell(truncated(n.ask(m, query, "udp"), query), from) }()
	}
}

// answerTCP serves guests that ask by TCP, many questions a connection.
func (n *Network) answerTCP(l net.Listener) {
	places := make(chan struct{}, maxTCPAsks)
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		m := n.asker(c.RemoteAddr())
		select {
		case places <- struct{}{}:
		default:
			m = nil
		}
		if m == nil {
			_ = c.Close()
			continue
		}
		go func() {
			defer func() { <-places }()
			n.answerConn(m, c)
		}()
	}
}

func (n *Network) answerConn(m *member, c net.Conn) {
	defer func() { _ = c.Close() }()
	stop := context.AfterFunc(n.life, func() { _ = c.Close() })
	defer stop()
	for {
		_ = c.SetDeadline(time.Now().Add(tcpAskTime))
		query, err := readMessage(c)
		if err != nil {
			return
		}
		answer, forward := n.answer(m, query)
		if forward {
			answer = n.ask(m, query, "tcp")
		}
		if answer == nil || writeMessage(c, answer) != nil {
			return
		}
	}
}

// readMessage and writeMessage carry messages over TCP, their length in front.
func readMessage(r io.Reader) ([]byte, error) {
	var size [2]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	msg := make([]byte, binary.BigEndian.Uint16(size[:]))
	_, err := io.ReadFull(r, msg)
	return msg, err
}

func writeMessage(w io.Writer, msg []byte) error {
	if len(msg) > maxAnswer {
		return fmt.Errorf("dns message: %d bytes", len(msg))
	}
	_, err := w.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(msg))), msg...))
	return err
}

// asker is the machine behind an address; nil where there is none.
func (n *Network) asker(a net.Addr) *member {
	at, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return nil
	}
	return n.byAddr(at.Addr().Unmap())
}

// ask puts a question to the name servers, one after the other, in the time
// that a question may take. The answer is never nil.
func (n *Network) ask(m *member, query []byte, network string) []byte {
	for _, places := range []chan struct{}{m.asks, n.asks} {
		select {
		case places <- struct{}{}:
			defer func() { <-places }()
		default:
			return failed(query, dnsmessage.RCodeServerFailure)
		}
	}
	ctx, cancel := context.WithTimeout(m.opened(), n.opts.DNSTime)
	defer cancel()
	servers := n.opts.Servers()
	for i, server := range servers {
		limited, done := context.WithTimeout(ctx, n.opts.DNSTime/time.Duration(len(servers)))
		answer, err := askServer(limited, n.opts.Dial, network, server, query)
		done()
		if err == nil {
			return answer
		}
		n.opts.Log.Debug("name server", "server", server, "err", err)
		if i == len(servers)-1 || ctx.Err() != nil {
			break
		}
	}
	return failed(query, dnsmessage.RCodeServerFailure)
}

type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// askServer asks one name server.
func askServer(ctx context.Context, dial dialFunc, network, server string, query []byte) ([]byte, error) {
	c, err := dial(ctx, network, server)
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if network == "tcp" {
		if err := writeMessage(c, query); err != nil {
			return nil, err
		}
		answer, err := readMessage(c)
		if err == nil && !answers(answer, query) {
			err = fmt.Errorf("%s answered something else", server)
		}
		return answer, err
	}
	if _, err := c.Write(query); err != nil {
		return nil, err
	}
	buf := make([]byte, maxAnswer)
	for {
		k, err := c.Read(buf)
		if err != nil {
			return nil, err
		}
		if answers(buf[:k], query) { // else somebody guesses
			return buf[:k], nil
		}
	}
}

// answers tells whether a message answers a question: its id, and the bit.
func answers(msg, query []byte) bool {
	const header, response = 12, 0x80
	return len(msg) >= header && len(query) >= header && msg[0] == query[0] && msg[1] == query[1] && msg[2]&response != 0
}
