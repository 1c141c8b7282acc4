package endpoint

import (
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/asynkron/protoactor-go/remote"
	"google.golang.org/protobuf/proto"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

func TestCheckerPassesWhatIsGood(t *testing.T) {
	c := newChecker(wire.Requests(), 256)
	for target, requests := range wire.Requests() {
		for _, r := range requests {
			message := r.ProtoReflect().New()
			if f := message.Descriptor().Fields().ByName("request"); f != nil {
				message.Mutable(f).Message().Interface().(*wire.Request).Id = uuid1
			}
			b := batch(target, message.Interface())
			d, refused, err := c.envelope(b, b.Envelopes[0], "client:1")
			if refused != nil || err != nil {
				t.Errorf("%T: %v, %v", r, refused, err)
				continue
			}
			if d.target != target || d.sender.Address != "client:1" || d.sender.Id != "$1" || !proto.Equal(d.message, message.Interface()) {
				t.Errorf("%T became %+v", r, d)
			}
		}
	}
}

// TestCheckerReadsMaps: labels are checked by key and by value, as strings are.
func TestCheckerReadsMaps(t *testing.T) {
	many := map[string]string{}
	for i := range maxList + 1 {
		many[strconv.Itoa(i)] = ""
	}
	for name, c := range map[string]struct {
		labels map[string]string
		field  string // of the refusal; "" = it passes
	}{
		"none":         {nil, ""},
		"some":         {map[string]string{"tier": "front", "x": ""}, ""},
		"too many":     {many, "labels"},
		"a long key":   {map[string]string{strings.Repeat("k", maxString+1): ""}, "key"},
		"a long value": {map[string]string{"k": strings.Repeat("v", maxString+1)}, "value"},
		"a NUL":        {map[string]string{"k": "\x00"}, "value"},
	} {
		for _, m := range []proto.Message{
			&wire.SetMachine{Request: &wire.Request{Id: uuid1}, Name: "a", Labels: c.labels},
			&wire.CreateMachine{Request: &wire.Request{Id: uuid1}, Name: "a", Spec: &wire.Spec{Labels: c.labels}},
		} {
			if r := fields(m.ProtoReflect()); (r == nil) != (c.field == "") || r.GetField() != c.field {
				t.Errorf("%s, %T: %v", name, m, r)
			}
		}
	}
}

func TestShort(t *testing.T) {
	long := make([]byte, 1000)
	if got := short(string(long)); len(got) > maxUnknown+len("…") {
		t.Errorf("%d bytes", len(got))
	}
}

// FuzzEnvelope: whatever bytes come, an envelope is delivered to a listed
// target with a listed type and our own sender, or is refused, or ends the
// stream; nothing panics, and what is refused can be put on the wire.
func FuzzEnvelope(f *testing.F) {
	for _, all := range []map[string]*remote.RemoteMessage{breaches, refusals} {
		for _, m := range all {
			if data, err := proto.Marshal(m); err == nil && len(data) < 4096 {
				f.Add(data)
			}
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var m remote.RemoteMessage
		if proto.Unmarshal(data, &m) != nil {
			return
		}
		c := newChecker(wire.Requests(), 256)
		b := m.GetMessageBatch()
		if c.batch(b) != nil {
			return
		}
		for _, e := range b.GetEnvelopes() {
			d, refused, err := c.envelope(b, e, "client:1")
			switch {
			case err != nil:
				if !errors.As(err, new(violation)) {
					t.Fatalf("an error that is no violation: %v", err)
				}
			case refused != nil:
				if _, err := proto.Marshal(refused); err != nil {
					t.Fatalf("a refusal that can't be sent: %v", err)
				}
			case wire.TargetOf(d.message) != d.target:
				t.Fatalf("a %T was let through to %q", d.message, d.target)
			}
			if err == nil && (d.sender.GetAddress() != "client:1" || d.sender.GetId() == "") {
				t.Fatalf("the sender is %v", d.sender)
			}
		}
	})
}
