package wire

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

var update = flag.Bool("update", false, "add what is new to the recorded bytes; what is there stays")

// recorded holds what agents and engines of some day said to each other: one
// line a message, its name and its bytes, with every field of that day filled.
// Lines are added and never changed: an engine talks to agents that are older
// than itself, and to some that are newer.
const recorded = "testdata/agent.txt"

// methods are recorded as "method PATH REQUEST REPLY", with "stream" where one is.
const methodsFile = "testdata/methods.txt"

func readLines(t *testing.T, path string) []string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil && !*update {
		t.Fatal(err)
	}
	var lines []string
	for s := bufio.NewScanner(bytes.NewReader(data)); s.Scan(); {
		lines = append(lines, s.Text())
	}
	return lines
}

// add records lines that are missing.
func add(t *testing.T, path string, had, now []string) {
	t.Helper()
	for _, line := range now {
		if slices.Contains(had, line) {
			continue
		}
		if !*update {
			t.Errorf("%s: not recorded: %.120s (go test -update adds it)", path, line)
			continue
		}
		had = append(had, line)
	}
	if *update {
		if err := os.WriteFile(path, []byte(strings.Join(had, "\n")+"\n"), 0o644); err != nil { //nolint:gosec // testdata
			t.Fatal(err)
		}
	}
}

// full fills every field of a message with something that tells it from others.
func full(m protoreflect.Message, depth int) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		switch {
		case f.IsMap():
			value := m.NewField(f)
			value.Map().Set(scalar(f.MapKey()).MapKey(), scalar(f.MapValue()))
			m.Set(f, value)
		case f.IsList():
			value := m.NewField(f)
			if f.Message() == nil {
				value.List().Append(scalar(f))
			} else if one := value.List().NewElement(); depth > 0 {
				full(one.Message(), depth-1)
				value.List().Append(one)
			}
			m.Set(f, value)
		case f.Message() != nil:
			if depth > 0 {
				value := m.NewField(f)
				full(value.Message(), depth-1)
				m.Set(f, value)
			}
		default:
			m.Set(f, scalar(f))
		}
	}
}

// scalar is a value by the field's number, so that no two are mistaken.
func scalar(f protoreflect.FieldDescriptor) protoreflect.Value {
	n := int64(f.Number()) + 1000
	switch f.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(true)
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return protoreflect.ValueOfInt32(int32(n)) //nolint:gosec // small
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(uint32(n)) //nolint:gosec // small
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return protoreflect.ValueOfInt64(n)
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return protoreflect.ValueOfUint64(uint64(n)) //nolint:gosec // positive
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(float64(n) / 2)
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(float32(n) / 2)
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes(fmt.Appendf(nil, "bytes %d", n))
	case protoreflect.EnumKind:
		values := f.Enum().Values()
		return protoreflect.ValueOfEnum(values.Get(values.Len() - 1).Number())
	case protoreflect.StringKind, protoreflect.MessageKind, protoreflect.GroupKind:
	}
	return protoreflect.ValueOfString(fmt.Sprintf("text %d", n))
}

// samples are all messages of today. Of a choice of fields only the last holds:
// each other has a sample of its own.
func samples() []proto.Message {
	var out []proto.Message
	messages := File_guest_wire_agent_proto.Messages()
	for i := range messages.Len() {
		d := messages.Get(i)
		kind, err := protoregistry.GlobalTypes.FindMessageByName(d.FullName())
		if err != nil {
			panic(err)
		}
		whole := kind.New()
		full(whole, 4)
		out = append(out, whole.Interface())
		for j := range d.Oneofs().Len() {
			choices := d.Oneofs().Get(j).Fields()
			for k := range choices.Len() {
				one := kind.New()
				f := choices.Get(k)
				if f.Message() == nil {
					one.Set(f, scalar(f))
				} else {
					value := one.NewField(f)
					full(value.Message(), 4)
					one.Set(f, value)
				}
				out = append(out, one.Interface())
			}
		}
	}
	return out
}

func line(t *testing.T, m proto.Message) string {
	t.Helper()
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return string(m.ProtoReflect().Descriptor().FullName()) + " " + hex.EncodeToString(data)
}

// TestRecordedMessages: bytes of any day mean today what they meant then: each
// field is known, of the same kind, and holds the value that its number says.
func TestRecordedMessages(t *testing.T) {
	had := readLines(t, recorded)
	for _, was := range had {
		name, digits, _ := strings.Cut(was, " ")
		data, err := hex.DecodeString(digits)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		kind, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(name))
		if err != nil {
			t.Errorf("%s is gone: %v", name, err)
			continue
		}
		m := kind.New().Interface()
		if err := proto.Unmarshal(data, m); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		meant(t, name, m.ProtoReflect())
		if again := line(t, m); again != was {
			t.Errorf("%s reads as something else: %s, was %s", name, again, was)
		}
	}
	var now []string
	for _, m := range samples() {
		now = append(now, line(t, m))
	}
	add(t, recorded, had, now)
}

// meant checks that a message holds what full put into it.
func meant(t *testing.T, name string, m protoreflect.Message) {
	t.Helper()
	if len(m.GetUnknown()) > 0 {
		t.Errorf("%s: %s has fields that are no longer known: %x", name, m.Descriptor().Name(), m.GetUnknown())
	}
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsMap():
			v.Map().Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
				if !k.Value().Equal(scalar(f.MapKey())) || !v.Equal(scalar(f.MapValue())) {
					t.Errorf("%s: %s is %v: %v", name, f.FullName(), k, v)
				}
				return true
			})
		case f.IsList() && f.Message() != nil:
			for i := range v.List().Len() {
				meant(t, name, v.List().Get(i).Message())
			}
		case f.IsList():
			if !v.List().Get(0).Equal(scalar(f)) {
				t.Errorf("%s: %s is %v", name, f.FullName(), v)
			}
		case f.Message() != nil:
			meant(t, name, v.Message())
		case f.Kind() != protoreflect.EnumKind && !v.Equal(scalar(f)):
			t.Errorf("%s: %s is %v", name, f.FullName(), v)
		}
		return true
	})
}

// TestRecordedMethods: what could be called can be.
func TestRecordedMethods(t *testing.T) {
	var now []string
	services := File_guest_wire_agent_proto.Services()
	for i := range services.Len() {
		methods := services.Get(i).Methods()
		for j := range methods.Len() {
			m := methods.Get(j)
			now = append(now, fmt.Sprintf("/%s/%s %s %s", m.Parent().FullName(), m.Name(), side(m.Input(), m.IsStreamingClient()), side(m.Output(), m.IsStreamingServer())))
		}
	}
	had := readLines(t, methodsFile)
	for _, was := range had {
		if !slices.Contains(now, was) {
			t.Errorf("an older agent serves %s, and today's engine does not call it so", was)
		}
	}
	add(t, methodsFile, had, now)
}

func side(d protoreflect.MessageDescriptor, stream bool) string {
	if stream {
		return "stream:" + string(d.Name())
	}
	return string(d.Name())
}

// TestRecordedLines: what is said before and beside gRPC.
func TestRecordedLines(t *testing.T) {
	token := bytes.Repeat([]byte{0xa5}, TokenSize)
	var said bytes.Buffer
	if err := SendPreface(duplex{strings.NewReader("\x01"), &said}, token); err != nil {
		t.Fatal(err)
	}
	now := []string{fmt.Sprintf("preface %x", said.Bytes())}
	if err := CheckPreface(duplex{bytes.NewReader(said.Bytes()), new(bytes.Buffer)}, token); err != nil {
		t.Error(err)
	}
	said.Reset()
	if err := AskForward(duplex{strings.NewReader("ok\n"), &said}, "tcp", "127.0.0.1:80"); err != nil {
		t.Fatal(err)
	}
	now = append(now, fmt.Sprintf("forward %x", said.Bytes()))
	if protocol, to, err := ReadForward(bytes.NewReader(said.Bytes()[len(Forward):])); err != nil || protocol != "tcp" || to != "127.0.0.1:80" {
		t.Errorf("%s %s %v", protocol, to, err)
	}
	const path = "testdata/lines.txt"
	had := readLines(t, path)
	if !*update && !slices.Equal(had, now) {
		t.Errorf("%q, was %q", now, had)
	}
	add(t, path, had, now)
}
