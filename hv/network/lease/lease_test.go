package lease

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"

	"pgregory.net/rapid"
)

func TestMAC(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := rapid.String().Draw(t, "id")
		mac, err := net.ParseMAC(MAC(id))
		if err != nil || len(mac) != 6 {
			t.Fatalf("%q: %v", MAC(id), err)
		}
		if mac[0]&1 != 0 || mac[0]&2 == 0 {
			t.Fatalf("%s is not unicast and locally administered", mac)
		}
		if MAC(id) != mac.String() {
			t.Fatalf("%s is written in another way: %s", MAC(id), mac)
		}
	})
}

// The addresses of machines that exist must not change with this code.
func TestAddressesStay(t *testing.T) {
	const id = "01a21f2b-de5b-7d91-bec0-e656faa38f57"
	if got, want := MAC(id), "52:fc:6d:d4:df:6e"; got != want {
		t.Errorf("MAC %s, want %s", got, want)
	}
	a, err := NewPool().Take(id)
	if want := netip.MustParseAddr("198.18.131.153"); err != nil || a != want {
		t.Errorf("address %s, %v, want %s", a, err, want)
	}
}

func TestPool(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.Uint32Range(1, 20).Draw(t, "size")
		p := newPool(number(First), size)
		held := map[netip.Addr]string{}
		for i := range rapid.IntRange(0, 60).Draw(t, "steps") {
			switch id := fmt.Sprint("machine ", i); rapid.IntRange(0, 2).Draw(t, "what") {
			case 0:
				a, err := p.Take(id)
				if (err != nil) != (len(held) == int(size)) || err != nil && !errors.Is(err, ErrExhausted) {
					t.Fatalf("%d of %d taken: %v", len(held), size, err)
				}
				if err == nil {
					if held[a] != "" || !Subnet.Contains(a) || number(a) < p.first || number(a) >= p.first+size {
						t.Fatalf("%s: held by %q", a, held[a])
					}
					held[a] = id
				}
			case 1:
				for a, who := range held {
					p.Free("somebody else", a)
					p.Free(who, a)
					delete(held, a)
					break
				}
			case 2:
				a := address(number(First) + rapid.Uint32Range(0, 2*size).Draw(t, "address"))
				p.Hold(id, a)
				if p.has(a) {
					held[a] = id
				}
			}
		}
		if len(p.holders) != len(held) {
			t.Fatalf("%d are held, want %d", len(p.holders), len(held))
		}
	})
}

// No machine has an address of the network's own, nor that which means all.
func TestPoolsBounds(t *testing.T) {
	p := NewPool()
	last := address(p.first + p.size - 1)
	if want := netip.MustParseAddr("198.18.255.254"); last != want {
		t.Errorf("the last address is %s, want %s", last, want)
	}
	for _, a := range []netip.Addr{Gateway, Host, Subnet.Addr(), netip.MustParseAddr("198.18.255.255"), netip.MustParseAddr("::1")} {
		if p.has(a) {
			t.Errorf("%s is a machine's", a)
		}
	}
}
