package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/arcboxlabs/arcbox-engine/hv"
	"github.com/arcboxlabs/arcbox-engine/hv/process"
)

// Bounds of what is read.
const (
	MaxNote = 64 << 10 // bytes of an exit note
	MaxText = 4 << 10  // bytes of one sentence for people in an answer, an event or a note
)

// Times that a dial or bridge may take, in milliseconds.
const (
	DefaultTimeout = 10_000
	MaxTimeout     = 60_000
)

// SaveTime is how long a guest may take to be saved.
const SaveTime = 10 * time.Minute

// NoteVersion is the version of Note that this build writes and reads.
const NoteVersion = 1

// ErrTooLong marks a line of more than MaxLine bytes.
var ErrTooLong = fmt.Errorf("line is longer than %d bytes", MaxLine)

// SocketPath is the path of the VM host's socket in a run directory.
func SocketPath(runDir string) (string, error) {
	return process.SocketPath(runDir, HostSocket)
}

// Clip bounds a sentence for people to MaxText bytes of valid UTF-8. It keeps
// the end, where causes stand.
func Clip(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= MaxText {
		return s
	}
	s = s[len(s)-MaxText+len("…"):]
	for len(s) > 0 && !utf8.RuneStart(s[0]) {
		s = s[1:]
	}
	return "…" + s
}

// Encode makes the line of a request, an answer or an event.
func Encode(v any) ([]byte, error) {
	line, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode %T: %w", v, err)
	}
	if len(line) >= MaxLine {
		return nil, fmt.Errorf("encode %T: %w", v, ErrTooLong)
	}
	return append(line, '\n'), nil
}

// ReadLine reads up to the first newline. The line comes without it; rest is
// what was read beyond.
func ReadLine(r io.Reader) (line, rest []byte, err error) {
	buf := make([]byte, 0, 512)
	for {
		n, err := r.Read(buf[len(buf):cap(buf)])
		old := len(buf)
		buf = buf[:old+n]
		if i := bytes.IndexByte(buf[old:], '\n'); i >= 0 {
			return buf[:old+i], buf[old+i+1:], nil
		}
		switch {
		case len(buf) >= MaxLine:
			return nil, nil, ErrTooLong
		case err == io.EOF && len(buf) > 0:
			return nil, nil, io.ErrUnexpectedEOF
		case err != nil:
			return nil, nil, err
		case len(buf) == cap(buf):
			buf = append(make([]byte, 0, min(2*cap(buf), MaxLine)), buf...)
		}
	}
}

// DecodeRequest reads and checks the line of a request. Fields that this build
// does not know are passed over; an operation that it does not know is left to
// the VM host to refuse.
func DecodeRequest(line []byte) (Request, error) {
	var r Request
	if err := json.Unmarshal(line, &r); err != nil {
		return Request{}, fmt.Errorf("request: %w", err)
	}
	switch {
	case r.Op == "" || len(r.Op) > 64:
		return Request{}, errors.New("request: op is missing or longer than 64 bytes")
	case (r.Op == OpDial || r.Op == OpBridge) && (r.Port == 0 || r.Port == uint32(hv.CIDAny)):
		return Request{}, fmt.Errorf("request: port %d: 1 to 4294967294", r.Port)
	case r.Timeout < 0 || r.Timeout > MaxTimeout:
		return Request{}, fmt.Errorf("request: timeout_ms %d: 0 (= %d) to %d", r.Timeout, DefaultTimeout, MaxTimeout)
	}
	return r, nil
}

// DecodeAnswer reads and checks the line of an answer.
func DecodeAnswer(line []byte) (Answer, error) {
	var a Answer
	if err := json.Unmarshal(line, &a); err != nil {
		return Answer{}, fmt.Errorf("answer: %w", err)
	}
	if !a.OK && a.Code == "" {
		return Answer{}, errors.New("answer: neither ok nor a code")
	}
	if h := a.Hello; h != nil && (h.Machine == "" || h.Launch == "" || !h.CID.Valid()) {
		return Answer{}, errors.New("answer: hello names no machine, no launch or no cid")
	}
	return a, nil
}

// DecodeEvent reads and checks one line of wait.
func DecodeEvent(line []byte) (Event, error) {
	var e Event
	if err := json.Unmarshal(line, &e); err != nil {
		return Event{}, fmt.Errorf("event: %w", err)
	}
	if e.Seq == 0 || e.Kind == "" || (e.Kind == hv.EventExit) != (e.Exit != nil) {
		return Event{}, fmt.Errorf("event %d of kind %q: has no seq, no kind, or exit where none belongs", e.Seq, e.Kind)
	}
	return e, nil
}

// DecodeNote reads and checks an exit note.
func DecodeNote(data []byte) (Note, error) {
	var n Note
	if len(data) > MaxNote {
		return Note{}, fmt.Errorf("exit note: longer than %d bytes", MaxNote)
	}
	if err := json.Unmarshal(data, &n); err != nil {
		return Note{}, fmt.Errorf("exit note: %w", err)
	}
	causes := []hv.ExitCause{hv.ExitPoweredOff, hv.ExitKilled, hv.ExitCrashed, hv.ExitPanic, hv.ExitFailed, hv.ExitCIDTaken, hv.ExitSaved}
	switch {
	case n.Version != NoteVersion:
		return Note{}, fmt.Errorf("exit note: version %d: this build reads %d", n.Version, NoteVersion)
	case n.Machine == "" || n.Launch == "":
		return Note{}, errors.New("exit note: names no machine or no launch")
	case !slices.Contains(causes, n.Cause):
		return Note{}, fmt.Errorf("exit note: cause %q: one of %q", n.Cause, causes)
	}
	n.Detail = Clip(n.Detail)
	return n, nil
}

// EncodeSpec makes what a VM host gets on its standard input.
func EncodeSpec(s hv.Spec) ([]byte, error) {
	line, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encode spec: %w", err)
	}
	out, err := process.Seal(line)
	if err != nil {
		return nil, fmt.Errorf("encode spec: %w", err)
	}
	return out, nil
}

// DecodeSpec reads what EncodeSpec made, to the end of r. It refuses a spec
// that was cut short, that goes on after its checksum, or that does not match it.
func DecodeSpec(r io.Reader) (hv.Spec, error) {
	line, err := process.Unseal(r)
	if err != nil {
		return hv.Spec{}, fmt.Errorf("spec: %w", err)
	}
	var s hv.Spec
	if err := json.Unmarshal(line, &s); err != nil {
		return hv.Spec{}, fmt.Errorf("spec: %w", err)
	}
	if err := s.Validate(); err != nil {
		return hv.Spec{}, err
	}
	if !filepath.IsAbs(s.Dir) || !filepath.IsAbs(s.RunDir) {
		return hv.Spec{}, fmt.Errorf("spec: dir %q and run_dir %q: both must be absolute paths", s.Dir, s.RunDir)
	}
	return s, nil
}
