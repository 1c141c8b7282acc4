package lease

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
)

// Subnet is every engine's network. The networks of two engines never meet, so
// that they may be the same. It lies in what RFC 2544 keeps for benchmarks: no
// company, container engine or VPN that a guest may want to reach is there.
var Subnet = netip.MustParsePrefix("198.18.0.0/16")

// The addresses that are the network's own. Machines have those from First on.
var (
	Gateway = netip.MustParseAddr("198.18.0.1") // router, name server
	Host    = netip.MustParseAddr("198.18.0.2") // the host's loopback
	First   = netip.MustParseAddr("198.18.1.0")
)

// GatewayMAC is the gateway's, and the host's.
const GatewayMAC = "02:ab:00:00:00:01"

// ErrExhausted marks that no address is left.
var ErrExhausted = errors.New("lease: every address of the network is taken")

// MAC is a machine's: unicast, locally administered, the rest from its id.
func MAC(machine string) string {
	h := sha256.Sum256([]byte("arcbox mac " + machine))
	return fmt.Sprintf("52:%02x:%02x:%02x:%02x:%02x", h[0], h[1], h[2], h[3], h[4])
}

// Pool is which addresses are taken, by whom. It is not safe for concurrent
// use.
type Pool struct {
	holders map[netip.Addr]string
	first   uint32
	size    uint32
}

// NewPool makes a pool of all the addresses that machines may have.
func NewPool() *Pool {
	broadcast := number(Subnet.Masked().Addr()) | 1<<(32-Subnet.Bits()) - 1
	return newPool(number(First), broadcast-number(First))
}

func newPool(first, size uint32) *Pool {
	return &Pool{holders: map[netip.Addr]string{}, first: first, size: size}
}

// Hold marks an address as a machine's; what was written down wins. An address
// that is not of the pool is passed over.
func (p *Pool) Hold(machine string, a netip.Addr) {
	if p.has(a) {
		p.holders[a] = machine
	}
}

// Take gives a machine an address: the one that its id leads to, else the next
// that is free.
func (p *Pool) Take(machine string) (netip.Addr, error) {
	if uint32(len(p.holders)) >= p.size {
		return netip.Addr{}, fmt.Errorf("%w: %d machines have one", ErrExhausted, len(p.holders))
	}
	h := sha256.Sum256([]byte("arcbox address " + machine))
	at := binary.BigEndian.Uint32(h[:]) % p.size
	for {
		a := address(p.first + at)
		if _, taken := p.holders[a]; !taken {
			p.holders[a] = machine
			return a, nil
		}
		at = (at + 1) % p.size
	}
}

// Free takes an address back, if that machine has it.
func (p *Pool) Free(machine string, a netip.Addr) {
	if p.holders[a] == machine {
		delete(p.holders, a)
	}
}

func (p *Pool) has(a netip.Addr) bool {
	return a.Is4() && number(a)-p.first < p.size
}

func number(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

func address(n uint32) netip.Addr {
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, n)))
}
