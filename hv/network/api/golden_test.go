package api_test

import (
	"bytes"
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/arcboxlabs/arcbox-engine/hv/network/api"
)

var update = flag.Bool("update", false, "add what is new to the recorded lines; what is there stays")

// recorded is what engines and network processes of some day said to each other,
// one line of a session each, and recordedConfig what engines gave to network
// processes, two lines each. Lines are added, behind those that are there, and never
// changed: an engine adopts network processes that are older than itself, and one
// that was not restarted yet starts those of the build that replaced it.
const (
	recorded       = "testdata/session.txt"
	recordedConfig = "testdata/config.txt"
)

var (
	forward = api.Forward{Protocol: "tcp", Listen: "127.0.0.1:8080", To: "80"}
	inward  = api.Forward{Protocol: "unix", Listen: "/run/host.sock", To: "/run/guest.sock", In: true}
	auto    = api.Forward{Protocol: "udp", Listen: "127.0.0.1:53", To: "[::]:53", Auto: true}
)

// lines are what the recorded ones mean, in their order.
func lines() []api.Line {
	return []api.Line{
		{Hello: &api.Hello{Version: "1.0", Started: time.Date(2026, 11, 24, 1, 2, 3, 456789000, time.UTC)}},
		{Set: &api.Machine{
			ID: "0193", Name: "default", MAC: "02:00:00:00:00:01", Address: "198.18.0.2", Egress: "10.0.0.0/8,dns",
			Link: "/r/n.sock", Host: "/r", Forwards: []api.Forward{forward, inward}, AutoPorts: true,
		}},
		{Set: &api.Machine{ID: "0194", Name: "bare", MAC: "02:00:00:00:00:02", Address: "198.18.0.3", Link: "/s/n.sock", Host: "/s"}},
		{Drop: "0193"},
		{All: true},
		{State: &api.State{
			ID: "0193", Linked: true, Denied: 2, Denials: []string{"tcp 1.2.3.4:25"}, Egress: "allow", AutoTrouble: "the guest does not say",
			Forwards: []api.ForwardState{{Forward: forward}, {Forward: inward, Error: "it is there"}, {Forward: auto}},
		}},
		{State: &api.State{ID: "0194"}},
		{Refused: &api.Refused{ID: "0195", Error: "machine: no id or no name"}},
	}
}

func configs() []api.Config { return []api.Config{{Version: 1, Dir: "/d", RunDir: "/r"}} }

// parts reads recorded parts of so many lines each. With -update what is recorded
// is followed by those of today's that are beyond.
func parts(t *testing.T, path string, lines int, now [][]byte) [][]byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil && !*update {
		t.Fatal(err)
	}
	var had [][]byte
	for rest := data; len(rest) > 0; {
		end := 0
		for range lines {
			end += bytes.IndexByte(rest[end:], '\n') + 1
		}
		had, rest = append(had, rest[:end]), rest[end:]
	}
	if *update && len(now) > len(had) {
		had = append(had, now[len(had):]...)
		if err := os.WriteFile(path, bytes.Join(had, nil), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if len(had) != len(now) {
		t.Fatalf("%s: %d are recorded, %d are here (go test -update adds those at the end)", path, len(had), len(now))
	}
	return had
}

// TestRecordedLines: bytes of any day mean today what they meant then, and what is
// said today is read by those of then.
func TestRecordedLines(t *testing.T) {
	var now [][]byte
	for _, l := range lines() {
		var b bytes.Buffer
		if err := api.Write(&b, l); err != nil {
			t.Fatal(err)
		}
		now = append(now, b.Bytes())
	}
	for i, was := range parts(t, recorded, 1, now) {
		got, err := api.NewLines(bytes.NewReader(was)).Next()
		if err != nil {
			t.Errorf("%s: %v", was, err)
		}
		if d := cmp.Diff(lines()[i], got); d != "" {
			t.Errorf("%s means something else (-was +is):\n%s", was, d)
		}
		if d := cmp.Diff(string(was), string(now[i])); d != "" {
			t.Errorf("it is said otherwise (-was +is):\n%s", d)
		}
	}
}

func TestRecordedConfigs(t *testing.T) {
	var now [][]byte
	for _, c := range configs() {
		sealed, err := api.EncodeConfig(c)
		if err != nil {
			t.Fatal(err)
		}
		now = append(now, sealed)
	}
	for i, was := range parts(t, recordedConfig, 2, now) {
		got, err := api.DecodeConfig(bytes.NewReader(was))
		if err != nil || got != configs()[i] {
			t.Errorf("%s: %+v, %v", was, got, err)
		}
		if d := cmp.Diff(string(was), string(now[i])); d != "" {
			t.Errorf("it is written otherwise (-was +is):\n%s", d)
		}
	}
}

// What is added to the protocol is added to what is recorded: every field stands
// in some line.
func TestEveryFieldIsRecorded(t *testing.T) {
	said := map[string]bool{}
	for _, l := range lines() {
		fields(reflect.ValueOf(l), said)
		if l.Set == nil {
			continue
		}
		if _, err := l.Set.Check(); err != nil {
			t.Errorf("what is recorded would be refused: %v", err)
		}
	}
	for _, c := range configs() {
		fields(reflect.ValueOf(c), said)
	}
	for field, is := range said {
		if !is {
			t.Errorf("%s stands in no recorded line", field)
		}
	}
	if len(said) < 35 {
		t.Errorf("only %d fields were looked at", len(said))
	}
}

// fields notes which fields of a value are set somewhere.
func fields(v reflect.Value, said map[string]bool) {
	switch v.Kind() { //nolint:exhaustive // all others are values, and have no fields
	case reflect.Pointer:
		if !v.IsNil() {
			fields(v.Elem(), said)
		}
	case reflect.Slice:
		for i := range v.Len() {
			fields(v.Index(i), said)
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return
		}
		for f, field := range v.Fields() {
			name := v.Type().Name() + "." + f.Name
			said[name] = said[name] || !field.IsZero()
			fields(field, said)
		}
	}
}

// Who is newer says more: fields and kinds of lines that are not known are passed over.
func TestNewerLinesAreRead(t *testing.T) {
	for in, want := range map[string]api.Line{
		`{"hello":{"version":"9","started":"2026-11-24T01:02:03Z","can":["x"]},"mood":1}`: {Hello: &api.Hello{Version: "9", Started: time.Date(2026, 11, 24, 1, 2, 3, 0, time.UTC)}},
		`{"weather":{"id":"0193"}}`: {},
	} {
		got, err := api.NewLines(strings.NewReader(in + "\n")).Next()
		if d := cmp.Diff(want, got); err != nil || d != "" {
			t.Errorf("%s: %v %s", in, err, d)
		}
	}
}
