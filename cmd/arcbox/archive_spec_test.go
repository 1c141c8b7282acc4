package main

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

// notArchived are what an archive says elsewhere, or on purpose not at all.
var notArchived = []string{"image", "owner", "protected", "provision"}

// A spec that gets a new field gets it in archives as well, or says that it does not.
func TestAllOfASpecIsArchived(t *testing.T) {
	none, err := archivedSpec(&wire.Spec{Image: "sha256:x"})
	if err != nil {
		t.Fatal(err)
	}
	fields := (&wire.Spec{}).ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		f, spec := fields.Get(i), &wire.Spec{Image: "sha256:x"}
		m := spec.ProtoReflect()
		switch {
		case slices.Contains(notArchived, string(f.Name())):
			continue
		case f.IsMap():
			m.Mutable(f).Map().Set(protoreflect.ValueOf("k").MapKey(), protoreflect.ValueOf("v"))
		case f.IsList():
			m.Mutable(f).List().AppendMutable()
		case f.Kind() == protoreflect.BoolKind:
			m.Set(f, protoreflect.ValueOf(true))
		case f.Kind() == protoreflect.StringKind:
			m.Set(f, protoreflect.ValueOf("sim"))
		case f.Kind() == protoreflect.Uint32Kind:
			m.Set(f, protoreflect.ValueOf(uint32(7)))
		default:
			m.Set(f, protoreflect.ValueOf(int64(7<<20)))
		}
		text, err := archivedSpec(spec)
		if err != nil || bytes.Equal(text, none) {
			t.Errorf("%s is lost in an archive: %s, %v", f.Name(), text, err)
		}
	}
}

// An archive says nothing that only a person of this host may say.
func TestArchivedKeys(t *testing.T) {
	for _, key := range specNames {
		known := slices.Contains(archivedKeys, key) || slices.Contains(hostKeys, key)
		if !known && !slices.Contains(notImported, key) {
			t.Errorf("what becomes of the key %s?", key)
		}
	}
	for _, p := range []*wire.Port{
		{Protocol: "tcp", Listen: "127.0.0.1:8080", To: "80"}, {Protocol: "udp", Listen: "[::1]:53", To: "53"},
		{Protocol: "unix", Listen: "/a", To: "/b"}, {Protocol: "unix", Listen: "/a", To: "/b", In: true},
	} {
		for _, list := range archivedLists(&wire.Spec{Ports: []*wire.Port{p}}) {
			if back, err := parseForward(list[0], false); err != nil || !proto.Equal(p, back) {
				t.Errorf("%v is %q, and back %v, %v", p, list, back, err)
			}
		}
	}
	for n, text := range map[int64]string{1 << 30: "1G", 64<<20 + 1: "", 1: "", 1536: ""} {
		got := exactSize(n)
		if back, err := parseSize(got); err != nil || back != n || text != "" && got != text {
			t.Errorf("%d is %s, %d, %v", n, got, back, err)
		}
	}
	if got := fmt.Sprint(flagsFor("port", []byte(`["1:2","3:4/udp"]`)), flagsFor("kernel", []byte(`"/k"`)), flagsFor("kernel", []byte(`7`))); got != "[--port 1:2 --port 3:4/udp] [--kernel /k] [--kernel]" {
		t.Error(got)
	}
}
