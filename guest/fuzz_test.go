package guest

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
	"google.golang.org/protobuf/proto"
)

// What a guest says of its interfaces leads to an address that can be dialled,
// of the interface that we know, or to none.
func FuzzSelectAddress(f *testing.F) {
	const mac = "52:54:00:12:34:56"
	for _, s := range []*wire.SystemInfoReply{
		{}, {Interfaces: []*wire.Interface{{Name: "eth0", Mac: mac, Addresses: []string{"10.0.0.2/24", "fe80::1/64"}}}},
		{Interfaces: []*wire.Interface{{Mac: "52-54-00-12-34-56", Addresses: []string{"::ffff:127.0.0.1", "2001:db8::1%eth0", "x"}}, {Mac: "zz"}}},
	} {
		data, err := proto.Marshal(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var info wire.SystemInfoReply
		if proto.Unmarshal(data, &info) != nil {
			return
		}
		text := SelectAddress(info.GetInterfaces(), mac)
		if text == "" {
			return
		}
		a, err := netip.ParseAddr(text)
		if err != nil || a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsUnspecified() || a.Zone() != "" || a.String() != text {
			t.Errorf("%q: %v", text, err)
		}
		var others []*wire.Interface
		for _, i := range info.GetInterfaces() {
			if SelectAddress([]*wire.Interface{i}, mac) == "" {
				others = append(others, i)
			}
		}
		if got := SelectAddress(others, mac); got != "" {
			t.Errorf("%q comes of interfaces that have none", got)
		}
	})
}

// How a guest's program ended is a status that a shell knows, or an error.
func FuzzExecDone(f *testing.F) {
	for _, d := range []*wire.ExecDone{{}, {Status: 7}, {Signal: 9}, {Error: "no such file", ErrorStatus: 127}, {Status: -1}, {Signal: 65}} {
		data, err := proto.Marshal(d)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var d wire.ExecDone
		if proto.Unmarshal(data, &d) != nil {
			return
		}
		err := checkDone(&d)
		if err != nil && (!errors.Is(err, ErrProtocol) || len(err.Error()) > 200) {
			t.Errorf("refused with %v", err)
		}
		if err == nil && (d.GetStatus()&^255 != 0 || d.GetSignal() < 0 || d.GetSignal() > 64) {
			t.Errorf("taken: %v", &d)
		}
	})
}
