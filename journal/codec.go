package journal

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/arcboxlabs/arcbox-engine/fsm"
	"github.com/fxamacker/cbor/v2"
	"github.com/google/uuid"
)

// format is the version of keys, values and kinds together. An engine opens
// this one and every older one, and raises what it opens for writing. A new kind
// raises it, and so does what a spec says that an older engine would leave out.
//
//	1  the first
//	2  a spec's image, its name and the size of the data disk
//	3  a spec's further disks, owner, board, network and ports; a machine's lease;
//	   the kernel that a VM booted; the init of booted
//	4  a spec's set-up, and provisioned
//	5  a spec's labels, its protection, and its shares; a reboot behind which booted
//	   is owed again
//	6  renamed; disk-formatted of a machine that was never started; egress-denied;
//	   a spec's automatic ports, sockets inwards, architecture, vsock and Rosetta;
//	   what a machine is a clone of
//	7  pause-requested, resume-requested, and the health paused
//	8  a stop that saves, the cause saved, and a start that goes on from there
const format = 8

// The versions of a record's value. These numbers are on disk: a number is
// never given another meaning.
const (
	versionLost   = 0 // a gravestone
	versionRecord = 1
)

const (
	versionSnapshot = 1
	versionRequest  = 1
	versionLast     = 1
)

// What a record may hold.
const (
	MaxRecord = 64 << 10 // bytes of its stored value
	MaxText   = 256      // bytes of its name, principal, reason, request and launch
)

const (
	headerSize = 1 + 8 + 8
	hashSize   = sha256.Size
)

type hash = [hashSize]byte

// What seal fills in.
var (
	emptyHeader = []byte{versionRecord, headerSize - 1: 0}
	emptyHash   = make([]byte, hashSize)
)

// body is the middle of a record's value. It is decoded in two steps, because
// the kind says what the payload is, and encoded in one.
type body[Fact any] struct {
	Machine   []byte     `cbor:"1,keyasint,omitempty"`
	Kind      fsm.Kind   `cbor:"2,keyasint"`
	To        fsm.State  `cbor:"3,keyasint,omitempty"`
	Name      string     `cbor:"4,keyasint,omitempty"`
	CID       uint32     `cbor:"5,keyasint,omitempty"`
	Principal string     `cbor:"6,keyasint,omitempty"`
	Reason    fsm.Reason `cbor:"7,keyasint,omitempty"`
	Request   string     `cbor:"8,keyasint,omitempty"`
	Launch    string     `cbor:"9,keyasint,omitempty"`
	Fact      Fact       `cbor:"10,keyasint"`
}

// stone is the middle of a gravestone.
type stone struct {
	What string `cbor:"1,keyasint"`
	Left []byte `cbor:"2,keyasint,omitempty"` // what is left of the value that stood there
}

// One encoding for one value: snapshots are compared as bytes.
var encMode = must(cbor.EncOptions{
	Sort:        cbor.SortCoreDeterministic,
	Time:        cbor.TimeRFC3339NanoUTC,
	IndefLength: cbor.IndefLengthForbidden,
	TagsMd:      cbor.TagsForbidden,
}.UserBufferEncMode())

// Hostile bytes cost no more than their own length.
var decMode = must(cbor.DecOptions{
	DupMapKey:        cbor.DupMapKeyEnforcedAPF,
	MaxNestedLevels:  8,
	MaxArrayElements: 4096,
	MaxMapPairs:      4096,
	IndefLength:      cbor.IndefLengthForbidden,
	TagsMd:           cbor.TagsForbidden,
	UTF8:             cbor.UTF8RejectInvalid,
}.DecMode())

func must[T any](v T, err error) T {
	if err != nil {
		panic(err) // the options above contradict each other
	}
	return v
}

// encode makes a record's value but for what only the writer knows: see seal.
// It adds it to buf, and the value is valid until buf is changed again.
func encode(r fsm.Record, m machineKey, buf *bytes.Buffer) ([]byte, error) {
	b := body[fsm.Fact]{
		Kind: r.Kind, To: r.To, Name: r.Name, CID: r.CID, Principal: r.Principal,
		Reason: r.Reason, Request: r.Request, Launch: r.Launch, Fact: r.Fact,
	}
	if r.Machine != "" {
		b.Machine = m[:]
	}
	start := buf.Len()
	buf.Write(emptyHeader)
	if err := encMode.MarshalToBuffer(&b, buf); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrInvalid, r.Kind, err)
	}
	buf.Write(emptyHash)
	v := buf.Bytes()[start:]
	if len(v) > MaxRecord {
		return nil, fmt.Errorf("%w: %s is %d bytes long, at most %d are allowed", ErrInvalid, r.Kind, len(v), MaxRecord)
	}
	return v, nil
}

// seal fills in what only the writer knows, and returns the value's own hash.
func seal(v []byte, seq uint64, t time.Time, before hash) hash {
	binary.BigEndian.PutUint64(v[1:], seq)
	binary.BigEndian.PutUint64(v[9:], uint64(t.UnixNano()))
	copy(v[len(v)-hashSize:], before[:])
	return sha256.Sum256(v)
}

// encodeStone makes a gravestone, to be sealed.
func encodeStone(what string, left []byte) ([]byte, error) {
	if len(left) > MaxRecord {
		left = left[:MaxRecord]
	}
	b, err := cbor.Marshal(stone{what, left})
	if err != nil {
		return nil, fmt.Errorf("encode a gravestone: %w", err)
	}
	v := append([]byte{versionLost, headerSize - 1: 0}, b...)
	return append(v, make([]byte, hashSize)...), nil
}

var errLost = errors.New("lost")

// decode reads the value stored under a sequence number. It never panics and
// trusts no byte of it.
func decode(seq uint64, v []byte) (fsm.Record, error) {
	r, _, err := decodeKeyed(seq, v)
	return r, err
}

// decodeKeyed tells the record's machine as keys name it, too.
func decodeKeyed(seq uint64, v []byte) (fsm.Record, machineKey, error) {
	var r fsm.Record
	if len(v) < headerSize+hashSize || len(v) > 2*MaxRecord {
		return r, uuid.Nil, fmt.Errorf("a value of %d bytes", len(v))
	}
	if got := binary.BigEndian.Uint64(v[1:]); got != seq {
		return r, uuid.Nil, fmt.Errorf("it says that it is record %d", got)
	}
	raw := v[headerSize : len(v)-hashSize]
	switch v[0] {
	case versionRecord:
		if r, m, ok := plainRecord(raw, seq, timeOf(v)); ok {
			return r, m, nil
		}
		r, err := cborRecord(raw, seq, timeOf(v))
		m, _ := parseMachine(r.Machine)
		return r, m, err
	case versionLost:
		var s stone
		if err := decMode.Unmarshal(raw, &s); err != nil {
			return r, uuid.Nil, fmt.Errorf("gravestone: %w", err)
		}
		return r, uuid.Nil, fmt.Errorf("%w: %s", errLost, s.What)
	}
	return r, uuid.Nil, fmt.Errorf("version %d is not known", v[0])
}

// cborRecord reads the middle of a record's value in any spelling that is allowed.
func cborRecord(raw []byte, seq uint64, t time.Time) (fsm.Record, error) {
	var b body[cbor.RawMessage]
	if err := decMode.Unmarshal(raw, &b); err != nil {
		return fsm.Record{}, err
	}
	return record(&b, seq, t)
}

func record(b *body[cbor.RawMessage], seq uint64, t time.Time) (fsm.Record, error) {
	r := fsm.Record{
		Seq: seq, Time: t, Kind: b.Kind, To: b.To, Name: b.Name, CID: b.CID, Principal: b.Principal,
		Reason: b.Reason, Request: b.Request, Launch: b.Launch,
	}
	switch len(b.Machine) {
	case 0:
	case len(machineKey{}):
		r.Machine = machineID(machineKey(b.Machine))
	default:
		return fsm.Record{}, fmt.Errorf("a machine id of %d bytes", len(b.Machine))
	}
	if r.Fact = fsm.NewFact(b.Kind); r.Fact == nil {
		return fsm.Record{}, fmt.Errorf("kind %q is not known", b.Kind)
	}
	if !isMap(b.Fact) {
		return fsm.Record{}, fmt.Errorf("%s has no payload", b.Kind)
	}
	if err := decMode.Unmarshal(b.Fact, r.Fact); err != nil {
		return fsm.Record{}, fmt.Errorf("payload of %s: %w", b.Kind, err)
	}
	return r, nil
}

// isMap keeps null out, which would decode into anything.
func isMap(raw []byte) bool { return len(raw) > 0 && raw[0]>>5 == 5 }

func timeOf(v []byte) time.Time {
	return time.Unix(0, int64(binary.BigEndian.Uint64(v[9:]))).UTC()
}

func encodeSnapshot(m fsm.Machine) ([]byte, error) {
	var buf bytes.Buffer
	err := writeSnapshot(&m, &buf)
	return buf.Bytes(), err
}

func writeSnapshot(m *fsm.Machine, buf *bytes.Buffer) error {
	buf.WriteByte(versionSnapshot)
	if err := encMode.MarshalToBuffer(m, buf); err != nil {
		return fmt.Errorf("encode the fold of machine %s: %w", m.ID, err)
	}
	return nil
}

func decodeSnapshot(k machineKey, v []byte) (fsm.Machine, error) {
	var m fsm.Machine
	if len(v) < 2 || v[0] != versionSnapshot || !isMap(v[1:]) {
		return m, errors.New("not a snapshot of a known version")
	}
	if err := decMode.Unmarshal(v[1:], &m); err != nil {
		return m, err
	}
	if m.ID != machineID(k) {
		return m, fmt.Errorf("it says that it is of machine %q", m.ID)
	}
	return m, nil
}

// Outcome is what a request led to.
type Outcome struct {
	Seq     uint64
	Machine string
	Kind    fsm.Kind
	Time    time.Time
}

func encodeOutcome(o Outcome, m machineKey) []byte {
	v := binary.BigEndian.AppendUint64([]byte{versionRequest}, o.Seq)
	v = binary.BigEndian.AppendUint64(v, uint64(o.Time.UnixNano()))
	return append(append(v, m[:]...), o.Kind...)
}

func decodeOutcome(v []byte) (Outcome, bool) {
	const fixed = 1 + 8 + 8 + 16
	if len(v) <= fixed || v[0] != versionRequest {
		return Outcome{}, false
	}
	return Outcome{
		Seq: binary.BigEndian.Uint64(v[1:]), Time: timeOf(v),
		Machine: machineID(machineKey(v[17:fixed])), Kind: fsm.Kind(v[fixed:]),
	}, true
}

// end is where a journal ends, and where the tail starts that its snapshots
// don't hold.
type end struct {
	seq  uint64
	hash hash
	tail uint64
}

func (e end) encode() []byte {
	v := binary.BigEndian.AppendUint64([]byte{versionLast}, e.seq)
	return binary.BigEndian.AppendUint64(append(v, e.hash[:]...), e.tail)
}

func decodeEnd(v []byte) (end, error) {
	if len(v) != 1+8+hashSize+8 || v[0] != versionLast {
		return end{}, errors.New("x/last can't be read")
	}
	return end{binary.BigEndian.Uint64(v[1:]), hash(v[9 : 9+hashSize]), binary.BigEndian.Uint64(v[9+hashSize:])}, nil
}
