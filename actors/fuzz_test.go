package actors

import (
	"errors"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/fsm"
)

// A spec from the wire is refused with the field that is wrong, or is within
// the limits, complete, and the same when it comes again.
func FuzzCheckSpec(f *testing.F) {
	for _, s := range []*wire.Spec{
		{}, {Cpus: 2, Memory: 1 << 30},
		{Cpus: 1, Memory: MinMemory, Backend: "sim", Script: "boot=1s", Restart: "always", Accel: "tcg"},
		{Cpus: 1, Memory: 1 << 30, Kernel: "/k,x", Initrd: "relative", Cmdline: "a\x00b"},
		{Cpus: 1, Memory: 1 << 30, Blocks: []*wire.Block{{Path: "/a", ReadOnly: true, Serial: "x"}, {Path: "/b,c"}}},
		{Cpus: 1 << 31, Memory: -1}, {Cpus: 1, Memory: 1 << 62, Backend: "vz"},
	} {
		data, err := proto.Marshal(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, "web")
	}
	f.Fuzz(func(t *testing.T, data []byte, name string) {
		if err := checkName(name); err == nil && (len(name) == 0 || len(name) > 63 || nameKey(nameKey(name)) != nameKey(name)) {
			t.Errorf("name %q", name)
		} else if err != nil {
			typed(t, err)
		}
		var w wire.Spec
		if proto.Unmarshal(data, &w) != nil {
			return
		}
		limits := Limits{CPUs: 8, Memory: 16 << 30}
		s, err := checkSpec(&w, limits, true)
		if err != nil {
			typed(t, err)
			return
		}
		if s.CPUs < 1 || s.CPUs > limits.CPUs || s.Memory < MinMemory || s.Memory > limits.Memory || s.Backend == "" || s.Accel == "" ||
			s.Restart == "" || s.Version != 1 || hasControl(s.Kernel+s.Initrd+s.Cmdline) || s.Backend == "vz" {
			t.Errorf("taken: %+v", s)
		}
		if again, err := checkSpec(specOnWire(s), limits, true); err != nil || !again.Equal(s) {
			t.Errorf("%+v became %+v, %v", s, again, err)
		}
		if _, err := checkSpec(&w, limits, false); (err != nil) != (s.Backend == "sim") {
			t.Errorf("%+v without --allow-sim: %v", s, err)
		}
	})
}

// typed: a refusal that a person can act on, whatever was sent.
func typed(t *testing.T, err error) {
	t.Helper()
	r, ok := errors.AsType[*Refusal](err)
	if !ok || r.Hint == "" || r.Message == "" || len(r.Message) > 1000 {
		t.Errorf("refused with %#v", err)
	}
	if out := refused(err, &fsm.Machine{}); out.Code == wire.Code_CODE_INTERNAL {
		t.Errorf("on the wire: %v", out)
	}
}
