package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

// TestExportGoesOn: what is there comes page after page, and what follows comes
// behind it, none missed and none twice.
func TestExportGoesOn(t *testing.T) {
	all := records()
	e := &fakeEngine{
		answer: func(_ context.Context, msg proto.Message) (proto.Message, error) {
			q := msg.(*wire.QueryJournal)
			rest := all[q.GetAfter():]
			return &wire.Records{Records: rest[:min(3, len(rest))], Last: uint64(len(all)), More: len(rest) > 3}, nil
		},
		follow: func(_ context.Context, q *wire.QueryJournal, each func([]*wire.Record) error) error {
			if q.GetAfter() != 7 {
				t.Errorf("followed behind %d", q.GetAfter())
			}
			return each([]*wire.Record{{Seq: 8, UnixNanos: ago(0), Kind: "engine-stopped"}})
		},
	}
	b := newBench(t, e)
	if code := b.run(t, "journal", "export", "--follow", "--since", "1"); code != 0 {
		t.Fatalf("exit %d: %s", code, b.err.String())
	}
	var seqs []string
	for line := range strings.Lines(b.out.String()) {
		var r recordJSON
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		seqs = append(seqs, fmt.Sprint(r.Seq))
	}
	if got := strings.Join(seqs, " "); got != "2 3 4 5 6 7 8" {
		t.Errorf("printed %s", got)
	}
	b = newBench(t, e)
	b.run(t, "journal", "export")
	golden(t, "export.jsonl", b.out.String())
}

// TestExportSchema: docs/journal.md tells of every field, in the order and by
// the type that it has; no field goes, or becomes another.
func TestExportSchema(t *testing.T) {
	doc, err := os.ReadFile("../../docs/journal.md")
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, row := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\| (\\w+) \\|").FindAllStringSubmatch(string(doc), -1) {
		told = append(told, row[1]+" "+row[2])
	}
	types := map[string]string{
		"uint64": "number", "uint32": "number", "string": "string", "*time.Time": "string", "json.RawMessage": "object",
	}
	var is []string
	for f := range reflect.TypeFor[recordJSON]().Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		is = append(is, name+" "+types[f.Type.String()])
	}
	if !reflect.DeepEqual(told, is) {
		t.Errorf("told\n%q\nis\n%q", told, is)
	}
	const frozen = "seq number time string machine string name string kind string to string cid number principal string " +
		"reason string request string launch string fact object unreadable string"
	if got := strings.Join(is, " "); !strings.HasPrefix(got, frozen) {
		t.Errorf("a field was changed or taken away: %s", got)
	}
}

// TestExportOffline: where no engine runs, the engine's binary is asked.
func TestExportOffline(t *testing.T) {
	lines := `{"seq":"1","kind":"engine-started"}` + "\n" + `{"seq":"2","kind":"created","name":"web","factJson":"e30="}` + "\n"
	o := &offline{path: "x", stream: func(_ context.Context, _ *offline, args []string) (io.Reader, func() (int, error), error) {
		if args[1] != "export" || !strings.Contains(args[2], "web") {
			t.Errorf("asked %q", args)
		}
		return strings.NewReader(lines), func() (int, error) { return 0, nil }, nil
	}}
	var seqs []uint64
	err := o.Follow(t.Context(), &wire.QueryJournal{Machine: "web"}, func(rs []*wire.Record) error {
		seqs = append(seqs, rs[0].GetSeq())
		return nil
	})
	if err != nil || len(seqs) != 2 {
		t.Errorf("%v, %v", seqs, err)
	}
	lines = "{\n"
	if err := o.Follow(t.Context(), &wire.QueryJournal{Machine: "web"}, nil); err == nil {
		t.Error("half a line was taken")
	}
}
