package journal

import (
	"encoding/binary"
	"net/url"
	"strings"

	"github.com/google/uuid"
)

var (
	keyFormat = []byte("x/format")
	keyLast   = []byte("x/last")
)

// machineKey is a machine id as it stands in keys; the nil UUID is the engine.
type machineKey = uuid.UUID

// parseMachine takes canonical ids only: two spellings of one id would be two
// machines to a reader and one to a key.
func parseMachine(id string) (machineKey, bool) {
	if id == "" {
		return uuid.Nil, true
	}
	k, err := uuid.Parse(id)
	return k, err == nil && k != uuid.Nil && len(id) == 36 && strings.ToLower(id) == id
}

func machineID(k machineKey) string {
	if k == uuid.Nil {
		return ""
	}
	return k.String()
}

const (
	recordKeySize   = 2 + 8
	indexKeySize    = 2 + 16 + 8
	snapshotKeySize = 2 + 16

	checkpointKeySize = 2 + 8
	keptKeySize       = 2 + 8 + 16
)

func keyRecord(seq uint64) []byte {
	return binary.BigEndian.AppendUint64(append(make([]byte, 0, recordKeySize), "e/"...), seq)
}

func keyIndex(m machineKey, seq uint64) []byte {
	k := append(append(make([]byte, 0, indexKeySize), "m/"...), m[:]...)
	return binary.BigEndian.AppendUint64(k, seq)
}

// keyCheckpoint is where it is said that the folds behind it are all there.
func keyCheckpoint(seq uint64) []byte {
	return binary.BigEndian.AppendUint64(append(make([]byte, 0, keptKeySize), "h/"...), seq)
}

func keyKept(seq uint64, m machineKey) []byte { return append(keyCheckpoint(seq), m[:]...) }

func keySnapshot(m machineKey) []byte { return append([]byte("s/"), m[:]...) }

func keyRequest(principal, request string) []byte {
	return []byte("q/" + url.PathEscape(principal) + "/" + request)
}

func keyName(name string, m machineKey) []byte {
	return append(namePrefix(name), m[:]...)
}

func namePrefix(name string) []byte {
	return []byte("x/name/" + url.PathEscape(strings.ToLower(name)) + "/")
}

// nameOf is the name of one of keyName's keys, as it is escaped there.
func nameOf(key string) string { return key[len("x/name/") : len(key)-len(machineKey{})-1] }

func seqOf(key []byte) uint64 { return binary.BigEndian.Uint64(key[len(key)-8:]) }

// kindOfKey says what stands under a key.
type kindOfKey int

const (
	strangeKey kindOfKey = iota // nothing of ours
	recordKey
	indexKey
	snapshotKey
	requestKey
	nameKey
	fixedKey
	checkpointKey
	keptKey // a fold of a checkpoint
)

// keyOf tells what a key is, and the machine and record that it names.
func keyOf(k []byte) (m machineKey, seq uint64, kind kindOfKey) {
	switch s := string(k); {
	case strings.HasPrefix(s, "e/") && len(k) == recordKeySize:
		return m, seqOf(k), recordKey
	case strings.HasPrefix(s, "m/") && len(k) == indexKeySize:
		return machineKey(k[2:18]), seqOf(k), indexKey
	case strings.HasPrefix(s, "s/") && len(k) == snapshotKeySize:
		return machineKey(k[2:]), 0, snapshotKey
	case strings.HasPrefix(s, "h/") && len(k) == checkpointKeySize:
		return m, seqOf(k), checkpointKey
	case strings.HasPrefix(s, "h/") && len(k) == keptKeySize:
		return machineKey(k[10:]), binary.BigEndian.Uint64(k[2:]), keptKey
	case strings.HasPrefix(s, "q/") && strings.Contains(s[2:], "/"):
		return m, 0, requestKey
	case strings.HasPrefix(s, "x/name/") && len(k) > len("x/name/")+1+16 && k[len(k)-17] == '/':
		return machineKey(k[len(k)-16:]), 0, nameKey
	case s == string(keyFormat), s == string(keyLast):
		return m, 0, fixedKey
	}
	return m, 0, strangeKey
}

// after is the first key behind all keys that start with a prefix.
func after(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}
