package journal

import (
	"encoding/binary"
	"math"
	"reflect"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/arcboxlabs/arcbox-engine/fsm"
	"github.com/google/uuid"
)

// plain reads a record in the spelling that encode gives it: lengths ahead, the
// numbers of the fields rising, each field of its own type. Whatever else it meets
// it leaves to the CBOR library, which judges it. What both take is the same record:
// fuzz tests hold them against each other. Reading all of a long history, the
// library was the most of the time and of the garbage.
type plain struct {
	text string // the machine's id, and the middle of the value: all texts of the record are parts of it
	at   int
	odd  bool // it is not plain: what was read is worth nothing
}

// The major types of CBOR, and the simple values that are whole.
const (
	majorUint     = 0
	majorNegative = 1
	majorBytes    = 2
	majorText     = 3
	majorMap      = 5

	cborFalse = 0xf4
	cborTrue  = 0xf5
	cborNull  = 0xf6
)

// plainRecord reads the middle of a record's value; false where it is not plain.
func plainRecord(raw []byte, seq uint64, t time.Time) (r fsm.Record, m machineKey, ok bool) {
	if len(raw) >= beforeID+len(m) && raw[1] == 1 {
		m = machineKey(raw[beforeID : beforeID+len(m)])
	}
	id := spelled(m)
	var text strings.Builder
	text.Grow(idSize + len(raw))
	text.Write(id[:])
	text.Write(raw)
	p := plain{text: text.String(), at: idSize}
	p.record(&r)
	if m == uuid.Nil || r.Machine == "" {
		m, r.Machine = uuid.Nil, ""
	}
	r.Seq, r.Time = seq, t
	return r, m, !p.odd && p.at == len(p.text)
}

const (
	idSize   = 36
	beforeID = 3 // the heads of all, of the first field's number, and of its 16 bytes
)

// spelled is machineID without a string of its own.
func spelled(m machineKey) (id [idSize]byte) {
	const digits = "0123456789abcdef"
	at := 0
	for i, c := range m {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			id[at] = '-'
			at++
		}
		id[at], id[at+1] = digits[c>>4], digits[c&15]
		at += 2
	}
	return id
}

// record reads the fields of body.
func (p *plain) record(r *fsm.Record) {
	for f := range p.fields {
		switch f {
		case 1:
			n := p.size(majorBytes)
			p.odd = p.odd || n != len(machineKey{}) || p.at != idSize+beforeID || p.at+n > len(p.text)
			p.at += n
			r.Machine = p.text[:idSize]
		case 2:
			r.Kind = fsm.Kind(p.string())
		case 3:
			r.To = fsm.State(p.string())
		case 4:
			r.Name = p.string()
		case 5:
			n := p.uint()
			r.CID, p.odd = uint32(n), p.odd || n > math.MaxUint32 //nolint:gosec // or it is odd
		case 6:
			r.Principal = p.string()
		case 7:
			r.Reason = fsm.Reason(p.string())
		case 8:
			r.Request = p.string()
		case 9:
			r.Launch = p.string()
		case 10:
			p.fact(r)
		default:
			p.odd = true
		}
	}
	p.odd = p.odd || r.Fact == nil
}

// fact reads the payload, which is the last field: its kind is known by then.
func (p *plain) fact(r *fsm.Record) {
	f := fsm.NewFact(r.Kind)
	if f == nil {
		p.odd = true
		return
	}
	r.Fact, r.Kind = f, f.Kind()
	p.layout(reflect.ValueOf(f).Elem(), layouts[r.Kind])
}

// fields goes through the numbers of the fields of a map, which rise.
func (p *plain) fields(yield func(int) bool) {
	last := -1
	for range p.size(majorMap) {
		f := p.size(majorUint)
		p.odd = p.odd || f <= last
		if p.odd || !yield(f) {
			return
		}
		last = f
	}
}

// head reads what begins a value: its major type, and its number or length.
func (p *plain) head() (major byte, n uint64) {
	if p.at >= len(p.text) {
		p.odd = true
		return 0, 0
	}
	c := p.text[p.at]
	p.at++
	if major, n = c>>5, uint64(c&31); n < 24 {
		return major, n
	}
	var b [8]byte
	width := 1 << (n - 24)
	if n > 27 || p.at+width > len(p.text) {
		p.odd = true
		return 0, 0
	}
	copy(b[8-width:], p.text[p.at:])
	p.at += width
	return major, binary.BigEndian.Uint64(b[:])
}

// size reads a small number or a length, which is that of a value of some type.
// No such value has more parts than bytes are there.
func (p *plain) size(want byte) int {
	major, n := p.head()
	if major != want || n > uint64(len(p.text)) {
		p.odd = true
		return 0
	}
	return int(n) //nolint:gosec // less than that
}

func (p *plain) uint() uint64 {
	major, n := p.head()
	p.odd = p.odd || major != majorUint
	return n
}

func (p *plain) int() int64 {
	major, n := p.head()
	p.odd = p.odd || major > majorNegative || n > math.MaxInt64
	if major == majorNegative {
		return -1 - int64(n) //nolint:gosec // or it is odd
	}
	return int64(n) //nolint:gosec // or it is odd
}

func (p *plain) string() string {
	n := p.size(majorText)
	if p.odd || p.at+n > len(p.text) {
		p.odd = true
		return ""
	}
	s := p.text[p.at : p.at+n]
	p.at += n
	p.odd = !utf8.ValidString(s)
	return s
}

// is takes one byte, if it is that one.
func (p *plain) is(c byte) bool {
	if p.at >= len(p.text) || p.text[p.at] != c {
		return false
	}
	p.at++
	return true
}
