package endpoint

import (
	"fmt"
	"strings"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/remote"
	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

// Bounds of what one batch and one message may hold. They are about memory
// and logs; what a name or a size may be is for the actors to say.
const (
	maxTable    = 64  // type names, targets, senders of one batch
	maxSender   = 128 // bytes of a sender's id
	maxList     = 64  // items of a repeated field
	maxName     = 253
	maxString   = 4 << 10
	maxScript   = 256 << 10
	maxUnknown  = 80 // bytes of a client's text that are repeated in a log
	nestedDepth = 16
)

// violation is a breach of the protocol: the stream ends.
type violation string

// Error implements error.
func (v violation) Error() string { return string(v) }

func violated(format string, args ...any) error { return violation(fmt.Sprintf(format, args...)) }

// delivery is an envelope that passed.
type delivery struct {
	target  string
	sender  *actor.PID
	message proto.Message
}

// checker decides which envelopes pass. It holds no state: it is a function of
// the allow-list.
type checker struct {
	targets   map[string]map[string]protoreflect.MessageType
	envelopes int
}

func newChecker(targets map[string][]proto.Message, envelopes int) *checker {
	c := &checker{targets: map[string]map[string]protoreflect.MessageType{}, envelopes: envelopes}
	for id, requests := range targets {
		c.targets[id] = map[string]protoreflect.MessageType{}
		for _, r := range requests {
			c.targets[id][string(proto.MessageName(r))] = r.ProtoReflect().Type()
		}
	}
	return c
}

// batch checks what the envelopes of a batch share.
func (c *checker) batch(b *remote.MessageBatch) error {
	if n := len(b.GetEnvelopes()); n > c.envelopes {
		return violated("a batch of %d envelopes, the limit is %d", n, c.envelopes)
	}
	if n := max(len(b.GetTypeNames()), len(b.GetTargets()), len(b.GetSenders())); n > maxTable {
		return violated("a batch with a table of %d entries, the limit is %d", n, maxTable)
	}
	return nil
}

// envelope checks one envelope of a batch that came from client. The sender is
// known as soon as an error is not a violation. Where refused is set, the
// message is not delivered.
func (c *checker) envelope(b *remote.MessageBatch, e *remote.MessageEnvelope, client string) (d delivery, refused *wire.Refused, err error) {
	if d.sender, err = sender(b, e, client); err != nil {
		return delivery{}, nil, err
	}
	switch {
	case e.SerializerId != 0:
		return delivery{}, nil, violated("serializer id %d, allowed is 0", e.SerializerId)
	case e.TargetRequestId != 0 || e.SenderRequestId != 0:
		return delivery{}, nil, violated("request ids of PIDs are not used here")
	case e.Target < 0 || int(e.Target) >= len(b.Targets) || b.Targets[e.Target] == nil:
		return delivery{}, nil, violated("target index %d of %d", e.Target, len(b.Targets))
	case e.TypeId < 0 || int(e.TypeId) >= len(b.TypeNames):
		return delivery{}, nil, violated("type index %d of %d", e.TypeId, len(b.TypeNames))
	}
	target := b.Targets[e.Target]
	if target.Address != wire.Engine {
		return delivery{}, nil, violated("target address %q, allowed is %q", short(target.Address), wire.Engine)
	}
	d.target = target.Id
	types, ok := c.targets[d.target]
	if !ok {
		return d, badInput("target", "there is no actor %q for clients", short(target.Id)), nil
	}
	kind, ok := types[b.TypeNames[e.TypeId]]
	if !ok {
		return d, badInput("type", "the actor %q takes no message of type %q", d.target, short(b.TypeNames[e.TypeId])), nil
	}
	message := kind.New()
	if err := (proto.UnmarshalOptions{RecursionLimit: nestedDepth}).Unmarshal(e.MessageData, message.Interface()); err != nil {
		return d, badInput("", "a %s can't be read: %v", message.Descriptor().Name(), err), nil
	}
	d.message = message.Interface()
	return d, fields(message), nil
}

// sender is the PID that gets the answers: the client chooses the id, never
// the address.
func sender(b *remote.MessageBatch, e *remote.MessageEnvelope, client string) (*actor.PID, error) {
	if e == nil {
		return nil, violated("no envelope")
	}
	if e.Sender < 1 || int(e.Sender) > len(b.Senders) || b.Senders[e.Sender-1] == nil {
		return nil, violated("sender index %d, allowed are 1 to %d", e.Sender, len(b.Senders))
	}
	s := b.Senders[e.Sender-1]
	if s.Address != "" && s.Address != client {
		return nil, violated("the sender claims the address %q, it is %q", short(s.Address), client)
	}
	if s.Id == "" || len(s.Id) > maxSender {
		return nil, violated("a sender's id of %d bytes, allowed are 1 to %d", len(s.Id), maxSender)
	}
	return actor.NewPID(client, s.Id), nil
}

// fields checks a message whatever its type: the request id, the length of
// strings and lists, times that are not negative.
func fields(m protoreflect.Message) *wire.Refused {
	if f := m.Descriptor().Fields().ByName("request"); f != nil && f.Message() != nil {
		r, _ := m.Get(f).Message().Interface().(*wire.Request)
		if _, err := uuid.Parse(r.GetId()); err != nil || len(r.GetId()) != 36 {
			return badInput("request.id", "the request id %q is no UUID", short(r.GetId()))
		}
	}
	var refused *wire.Refused
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsMap():
			refused = entries(f, v.Map())
		case f.IsList():
			refused = items(f, v.List())
		default:
			refused = value(f, v)
		}
		return refused == nil
	})
	return refused
}

func items(f protoreflect.FieldDescriptor, list protoreflect.List) *wire.Refused {
	refused := few(f, list.Len())
	for i := 0; i < list.Len() && refused == nil; i++ {
		refused = value(f, list.Get(i))
	}
	return refused
}

// entries checks the keys of a map as strings of the field, and what they lead to.
func entries(f protoreflect.FieldDescriptor, m protoreflect.Map) *wire.Refused {
	refused := few(f, m.Len())
	if refused != nil {
		return refused
	}
	m.Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
		if refused = value(f.MapKey(), k.Value()); refused == nil {
			refused = value(f.MapValue(), v)
		}
		return refused == nil
	})
	return refused
}

func few(f protoreflect.FieldDescriptor, n int) *wire.Refused {
	if n > maxList {
		return badInput(string(f.Name()), "%s has %d items, allowed are %d", f.Name(), n, maxList)
	}
	return nil
}

func value(f protoreflect.FieldDescriptor, v protoreflect.Value) *wire.Refused {
	name := string(f.Name())
	switch f.Kind() {
	case protoreflect.MessageKind:
		return fields(v.Message())
	case protoreflect.StringKind:
		limit := maxString
		switch name {
		case "name", "machine":
			limit = maxName
		case "script":
			limit = maxScript
		}
		if n := len(v.String()); n > limit {
			return badInput(name, "%s has %d bytes, allowed are %d", name, n, limit)
		}
		if strings.ContainsRune(v.String(), 0) {
			return badInput(name, "%s holds a NUL byte", name)
		}
	case protoreflect.Int64Kind:
		if strings.HasSuffix(name, "_nanos") && v.Int() < 0 {
			return badInput(name, "%s is %d, a time must not be negative", name, v.Int())
		}
	}
	return nil
}

func badInput(field, format string, args ...any) *wire.Refused {
	return &wire.Refused{Code: wire.Code_CODE_BAD_INPUT, Field: field, Hint: "arcbox version", Message: fmt.Sprintf(format, args...)}
}

// short keeps a client's text from filling a log.
func short(s string) string {
	if len(s) <= maxUnknown {
		return s
	}
	return s[:maxUnknown] + "…"
}
