package modindex

import (
	"encoding/binary"
	"slices"
	"strings"
)

const (
	trieMagic   = 0xb007f457
	trieVersion = 0x00020001

	hasPrefix = 0x80000000
	hasValues = 0x40000000
	hasEdges  = 0x20000000
	maxOffset = 0x0fffffff

	// maxByte is the first byte that no key may have.
	maxByte = 128
)

// value is one that a key leads to; of several the one of the lowest priority comes
// first.
type value struct {
	priority int
	text     string
}

// trie leads from keys to values.
type trie struct {
	prefix string
	edges  map[byte]*trie
	values []value
}

// usable tells whether a text may be a key: one that the format has no room for
// would be another one when it is read.
func usable(key string) bool {
	return key != "" && strings.IndexFunc(key, func(r rune) bool { return r == 0 || r >= maxByte }) < 0
}

// put adds a value. The key is usable.
func (t *trie) put(key string, v value) {
	for {
		shared := 0
		for shared < len(t.prefix) && shared < len(key) && t.prefix[shared] == key[shared] {
			shared++
		}
		if shared < len(t.prefix) {
			below := &trie{prefix: t.prefix[shared+1:], edges: t.edges, values: t.values}
			*t = trie{prefix: t.prefix[:shared], edges: map[byte]*trie{t.prefix[shared]: below}}
		}
		if key = key[shared:]; key == "" {
			t.add(v)
			return
		}
		if t.edges == nil {
			t.edges = map[byte]*trie{}
		}
		next := t.edges[key[0]]
		if next == nil {
			t.edges[key[0]] = &trie{prefix: key[1:], values: []value{v}}
			return
		}
		t, key = next, key[1:]
	}
}

// add keeps the values in the order of their priorities, each once.
func (t *trie) add(v value) {
	if slices.Contains(t.values, v) {
		return
	}
	at, _ := slices.BinarySearchFunc(t.values, v, func(a, b value) int { return a.priority - b.priority })
	t.values = slices.Insert(t.values, at, v)
}

// bytes is the trie as a file; nil where it is too big to be one.
func (t *trie) bytes() []byte {
	out := binary.BigEndian.AppendUint32(nil, trieMagic)
	out = binary.BigEndian.AppendUint32(out, trieVersion)
	out, root := t.append(append(out, 0, 0, 0, 0))
	if len(out) > maxOffset {
		return nil
	}
	binary.BigEndian.PutUint32(out[8:], root)
	return out
}

// append writes a node behind those below it, and says where it is.
func (t *trie) append(out []byte) ([]byte, uint32) {
	var edges []byte
	if len(t.edges) > 0 {
		first, last := byte(maxByte-1), byte(0)
		for b := range t.edges {
			first, last = min(first, b), max(last, b)
		}
		edges = append(edges, first, last)
		for b := int(first); b <= int(last); b++ {
			var at uint32
			if below := t.edges[byte(b)]; below != nil {
				out, at = below.append(out)
			}
			edges = binary.BigEndian.AppendUint32(edges, at)
		}
	}
	at := uint32(len(out)) //nolint:gosec // bytes refuses what is too long
	if t.prefix != "" {
		at |= hasPrefix
		out = append(append(out, t.prefix...), 0)
	}
	if edges != nil {
		at |= hasEdges
		out = append(out, edges...)
	}
	if len(t.values) > 0 {
		at |= hasValues
		out = binary.BigEndian.AppendUint32(out, uint32(len(t.values))) //nolint:gosec // one a module at most
		for _, v := range t.values {
			out = binary.BigEndian.AppendUint32(out, uint32(v.priority)) //nolint:gosec // a module's number
			out = append(append(out, v.text...), 0)
		}
	}
	return out, at
}
