package api_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/arcboxlabs/arcbox-engine/hv"
	"github.com/arcboxlabs/arcbox-engine/hv/process"
	"github.com/arcboxlabs/arcbox-engine/hv/vmhost/api"
)

var update = flag.Bool("update", false, "write the golden files anew")

var moment = time.Date(2026, 11, 24, 1, 2, 3, 456789000, time.UTC)

func spec() hv.Spec {
	return hv.Spec{
		Version: hv.SpecVersion, Machine: "0193", Name: "default", Launch: "0194", CID: 3,
		Backend: hv.BackendQEMU, Accel: hv.AccelTCG, AccelNote: "no /dev/kvm", CPUs: 2, Memory: 512 << 20,
		Kernel: "/k", Initrd: "/i", Cmdline: "quiet", TokenFile: "/d/token", Dir: "/d", RunDir: "/r",
		Console: 1 << 20, QEMU: "/q", Script: "boot=1s", VsockSock: true,
	}
}

var exit = hv.Exit{Cause: hv.ExitCrashed, Status: -1, Detail: "signal: killed", Time: moment}

// golden compares the lines of values with a file that is never changed: an
// engine talks to VM hosts that are older than itself.
func golden(t *testing.T, file string, values []any) [][]byte {
	t.Helper()
	var all []byte
	for _, v := range values {
		line, err := api.Encode(v)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, line...)
	}
	path := filepath.Join("testdata", file)
	if *update {
		if err := os.WriteFile(path, all, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(all)); diff != "" {
		t.Errorf("%s: the frozen format changed (-was +is):\n%s", file, diff)
	}
	return bytes.SplitAfter(bytes.TrimSuffix(want, []byte("\n")), []byte("\n"))
}

func decoded[T any](t *testing.T, lines [][]byte, want []any, decode func([]byte) (T, error)) {
	t.Helper()
	for i, line := range lines {
		got, err := decode(line)
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		if diff := cmp.Diff(want[i], any(got)); diff != "" {
			t.Errorf("%s:\n%s", line, diff)
		}
	}
}

func TestGolden(t *testing.T) {
	requests := []any{
		api.Request{Op: api.OpHello}, api.Request{Op: api.OpWait}, api.Request{Op: api.OpWait, After: 7},
		api.Request{Op: api.OpPowerButton}, api.Request{Op: api.OpKill}, api.Request{Op: api.OpAllowReboot},
		api.Request{Op: api.OpDial, Port: 1024}, api.Request{Op: api.OpDial, Port: 22, Timeout: 500},
		api.Request{Op: api.OpBridge, Port: 1024},
		api.Request{Op: api.OpGrow, Disk: "data", Size: 1 << 40},
		api.Request{Op: api.OpPause}, api.Request{Op: api.OpResume},
		api.Request{Op: api.OpSave},
	}
	decoded(t, golden(t, "requests.txt", requests), requests, api.DecodeRequest)
	answers := []any{
		api.Answer{OK: true},
		api.Answer{OK: true, Hello: &api.Hello{
			Machine: "0193", Launch: "0194", CID: 3, Backend: hv.BackendQEMU, Accel: hv.AccelTCG, Note: "no /dev/kvm",
			Version: "1.0", Started: moment, Ops: []api.Op{api.OpBridge, api.OpAllowReboot},
			Can: hv.Capabilities{PowerButton: true, Reboot: true, Listen: true, Accels: []hv.Accel{hv.AccelTCG}}, Events: 2,
		}},
		api.Answer{Code: api.CodeBadRequest, Error: "e"}, api.Answer{Code: api.CodeUnsupported, Error: "e"},
		api.Answer{Code: api.CodeRefused, Error: "e"}, api.Answer{Code: api.CodeTimeout, Error: "e"},
		api.Answer{Code: api.CodeGone, Error: "e"}, api.Answer{Code: api.CodeInternal, Error: "e"},
	}
	decoded(t, golden(t, "answers.txt", answers), answers, api.DecodeAnswer)
	events := []any{
		api.Event{Seq: 1, Event: hv.Event{Kind: hv.EventPaused, Why: "no space", Time: moment}},
		api.Event{Seq: 2, Event: hv.Event{Kind: hv.EventResumed, Time: moment}},
		api.Event{Seq: 3, Event: hv.Event{Kind: hv.EventRebooted, Time: moment}},
		api.Event{Seq: 4, Event: hv.Event{Kind: hv.EventPanicked, Time: moment}},
		api.Event{Seq: 5, Event: hv.Event{Kind: hv.EventExit, Exit: &exit, Time: moment}},
	}
	decoded(t, golden(t, "events.txt", events), events, api.DecodeEvent)
	notes := []any{
		api.Note{Version: 1, Machine: "0193", Launch: "0194", Exit: exit},
		api.Note{Version: 1, Machine: "0193", Launch: "0194", Exit: hv.Exit{Cause: hv.ExitSaved, Time: moment}},
	}
	decoded(t, golden(t, "notes.txt", notes), notes, api.DecodeNote)
}

func TestSpecRoundTripAndDamage(t *testing.T) {
	data, err := api.EncodeSpec(spec())
	if err != nil {
		t.Fatal(err)
	}
	got, err := api.DecodeSpec(iotest.OneByteReader(bytes.NewReader(data)))
	if diff := cmp.Diff(spec(), got); err != nil || diff != "" {
		t.Fatalf("%v %s", err, diff)
	}
	for n := range data { // every prefix, every flipped bit
		if _, err := api.DecodeSpec(bytes.NewReader(data[:n])); err == nil {
			t.Errorf("the first %d of %d bytes were taken", n, len(data))
		}
		damaged := bytes.Clone(data)
		damaged[n] ^= 1 << (n % 8)
		if _, err := api.DecodeSpec(bytes.NewReader(damaged)); err == nil {
			t.Errorf("a flipped bit in byte %d was taken", n)
		}
	}
	for _, tail := range []string{"x", "\n", string(data)} {
		if _, err := api.DecodeSpec(strings.NewReader(string(data) + tail)); err == nil {
			t.Errorf("%.5q behind the checksum was taken", tail)
		}
	}
	relative := spec()
	relative.Dir = "d"
	if data, err = api.EncodeSpec(relative); err != nil {
		t.Fatal(err)
	}
	if _, err := api.DecodeSpec(bytes.NewReader(data)); err == nil || !strings.Contains(err.Error(), `dir "d"`) {
		t.Errorf("relative directory: %v", err)
	}
}

func TestReadLine(t *testing.T) {
	long := strings.Repeat("x", api.MaxLine-1)
	for in, want := range map[string]struct {
		line, rest string
		err        error
	}{
		"a\nb":       {line: "a", rest: "b"},
		"\n":         {},
		"":           {err: io.EOF},
		"ab":         {err: io.ErrUnexpectedEOF},
		long + "\n":  {line: long},
		long + "x\n": {err: api.ErrTooLong},
	} {
		line, rest, err := api.ReadLine(strings.NewReader(in))
		if string(line) != want.line || string(rest) != want.rest || !errors.Is(err, want.err) {
			t.Errorf("%.10q: %.10q, %q, %v", in, line, rest, err)
		}
	}
}

func TestClip(t *testing.T) {
	s := api.Clip(strings.Repeat("ä", api.MaxText) + "\xff the cause")
	if len(s) > api.MaxText || !strings.HasPrefix(s, "…ä") || !strings.HasSuffix(s, "\uFFFD the cause") {
		t.Errorf("%d bytes, %.10q … %q", len(s), s, s[len(s)-20:])
	}
}

func TestSocketPath(t *testing.T) {
	if _, err := api.SocketPath("/" + strings.Repeat("r", 101)); err == nil {
		t.Error("a path of 108 bytes was taken")
	}
	if p, err := api.SocketPath("/r"); err != nil || p != "/r/h.sock" {
		t.Error(p, err)
	}
}

// seeds are the golden lines and some that are wrong.
func seeds(f *testing.F, file string) {
	data, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		f.Fatal(err)
	}
	for line := range bytes.SplitSeq(data, []byte("\n")) {
		f.Add(line)
	}
	for _, s := range []string{"null", "{}", "[]", `{"op":"dial","port":4294967296}`, `{"seq":18446744073709551615,"kind":"exit"}`, strings.Repeat("[", 1000)} {
		f.Add([]byte(s))
	}
}

func FuzzRequest(f *testing.F) {
	seeds(f, "requests.txt")
	f.Fuzz(func(t *testing.T, line []byte) {
		r, err := api.DecodeRequest(line)
		if err != nil {
			return
		}
		if r.Op == "" || r.Timeout < 0 || r.Timeout > api.MaxTimeout || (r.Op == api.OpDial && r.Port == 0) {
			t.Errorf("%q: %+v", line, r)
		}
		again(t, r, api.DecodeRequest)
	})
}

func FuzzAnswer(f *testing.F) {
	seeds(f, "answers.txt")
	f.Fuzz(func(t *testing.T, line []byte) {
		if a, err := api.DecodeAnswer(line); err == nil {
			again(t, a, api.DecodeAnswer)
		}
	})
}

func FuzzEvent(f *testing.F) {
	seeds(f, "events.txt")
	f.Fuzz(func(t *testing.T, line []byte) {
		if e, err := api.DecodeEvent(line); err == nil {
			again(t, e, api.DecodeEvent)
		}
	})
}

func FuzzNote(f *testing.F) {
	seeds(f, "notes.txt")
	f.Fuzz(func(t *testing.T, data []byte) {
		n, err := api.DecodeNote(data)
		if err != nil {
			return
		}
		if n.Launch == "" || len(n.Detail) > api.MaxText {
			t.Errorf("%q: %+v", data, n)
		}
		again(t, n, api.DecodeNote)
	})
}

func FuzzSpec(f *testing.F) {
	data, err := api.EncodeSpec(spec())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(data[:len(data)-1])
	f.Add([]byte("{}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := api.DecodeSpec(bytes.NewReader(data))
		if err != nil {
			return
		}
		if len(data) > process.MaxInput || s.Validate() != nil || !filepath.IsAbs(s.Dir) {
			t.Errorf("%q: %+v", data, s)
		}
		out, err := api.EncodeSpec(s)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := api.DecodeSpec(bytes.NewReader(out)); err != nil || !reflect.DeepEqual(again, s) {
			t.Errorf("%+v became %+v, %v", s, again, err)
		}
	})
}

// A fuzzer does not find checksums: here they fit, and the rest is hostile.
func FuzzSpecBehindItsChecksum(f *testing.F) {
	data, err := api.EncodeSpec(spec())
	if err != nil {
		f.Fatal(err)
	}
	line, _, _ := bytes.Cut(data, []byte("\n"))
	f.Add(line)
	f.Add([]byte("{}"))
	f.Add([]byte("null"))
	f.Fuzz(func(t *testing.T, line []byte) {
		sum := sha256.Sum256(line)
		data := fmt.Appendf(nil, "%s\n%x\n", line, sum)
		s, err := api.DecodeSpec(bytes.NewReader(data))
		if err != nil {
			return
		}
		if s.Validate() != nil || !filepath.IsAbs(s.Dir) {
			t.Errorf("%q: %+v", line, s)
		}
		out, err := api.EncodeSpec(s)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := api.DecodeSpec(bytes.NewReader(out)); err != nil || !reflect.DeepEqual(again, s) {
			t.Errorf("%+v became %+v, %v", s, again, err)
		}
	})
}

// A line is what stands before the newline, whole, bounded, however it comes.
func FuzzReadLine(f *testing.F) {
	f.Add([]byte("{\"op\":\"hello\"}\nrest"))
	f.Add([]byte("no end"))
	f.Add(bytes.Repeat([]byte("x"), 600))
	f.Fuzz(func(t *testing.T, data []byte) {
		line, rest, err := api.ReadLine(iotest.OneByteReader(bytes.NewReader(data)))
		want, _, ended := bytes.Cut(data, []byte("\n"))
		if ended && len(want) < api.MaxLine {
			if err != nil || !bytes.Equal(line, want) || len(rest) > 0 {
				t.Errorf("%q: %q, %q, %v", data, line, rest, err)
			}
		} else if err == nil || line != nil || rest != nil {
			t.Errorf("%q: %q, %q, no error", data, line, rest)
		}
		line, rest, err = api.ReadLine(bytes.NewReader(data))
		if err == nil && (!bytes.HasPrefix(data, append(bytes.Clone(line), '\n')) || !bytes.HasPrefix(data[len(line)+1:], rest)) {
			t.Errorf("%q: %q and %q", data, line, rest)
		}
	})
}

// again: what was taken can be written and is read the same.
func again[T any](t *testing.T, v T, decode func([]byte) (T, error)) {
	t.Helper()
	line, err := json.Marshal(v)
	if err != nil {
		return // a time beyond the year 9999
	}
	back, err := decode(line)
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	if second, err := json.Marshal(back); err != nil || !bytes.Equal(line, second) {
		t.Errorf("%s became %s, %v", line, second, err)
	}
}
