package actors

import (
	"github.com/asynkron/protoactor-go/actor"
)

// registry is who has which name and which CID. It is pure: the supervisor
// alone uses it.
//
// A CID is never computed from a count, and never handed out while a VM may
// hold it: it goes round, so that a CID just freed is the last to come again.
type registry struct {
	names map[string]*member // by nameKey
	ids   map[string]*member
	cids  map[uint32]string // held by which machine
	next  uint32
	last  uint32
}

type member struct {
	id, name string
	next     string // the name that is kept for it; "" = none
	pid      *actor.PID
	left     bool // its name is free: removed and synced, the directory not yet deleted
}

func newRegistry(last uint32) *registry {
	return &registry{names: map[string]*member{}, ids: map[string]*member{}, cids: map[uint32]string{}, next: firstCID, last: last}
}

const (
	firstCID = 3
	lastCID  = 0xFFFFFFFE
)

// join takes a name, unless another has it.
func (r *registry) join(m *member) (holder *member, ok bool) {
	if old := r.names[nameKey(m.name)]; old != nil {
		return old, false
	}
	r.names[nameKey(m.name)], r.ids[m.id] = m, m
	return m, true
}

// leave frees a machine's name.
func (r *registry) leave(id string) {
	m := r.ids[id]
	if m == nil || m.left {
		return
	}
	m.left = true
	r.drop(m, m.name)
	r.drop(m, m.next)
}

// drop frees one of a machine's names.
func (r *registry) drop(m *member, name string) {
	if r.names[nameKey(name)] == m {
		delete(r.names, nameKey(name))
	}
}

// promise keeps a second name for a machine: its own or nobody's.
func (r *registry) promise(m *member, name string) { m.next, r.names[nameKey(name)] = name, m }

// settle ends a promise: of its names the machine has this one, and no other.
func (r *registry) settle(id, name string) {
	m := r.ids[id]
	if m == nil {
		return
	}
	for _, other := range []string{m.name, m.next} {
		if nameKey(other) != nameKey(name) {
			r.drop(m, other)
		}
	}
	m.name, m.next = name, ""
}

// forget drops a machine that has left and is cleaned away.
func (r *registry) forget(id string) {
	r.leave(id)
	delete(r.ids, id)
}

func (r *registry) named(name string) *member { return r.names[nameKey(name)] }

// hold marks a CID as taken; what the journal says wins.
func (r *registry) hold(id string, cid uint32) {
	if cid >= firstCID {
		r.cids[cid] = id
		r.next = max(r.next, cid+1)
		r.wrap()
	}
}

// reserve gives out a CID that nobody holds.
func (r *registry) reserve(id string) uint32 {
	for {
		cid := r.next
		r.next++
		r.wrap()
		if _, taken := r.cids[cid]; !taken {
			r.cids[cid] = id
			return cid
		}
	}
}

func (r *registry) wrap() {
	if r.next < firstCID || r.next > r.last {
		r.next = firstCID
	}
}

// free takes a CID back, if that machine holds it.
func (r *registry) free(id string, cid uint32) {
	if r.cids[cid] == id {
		delete(r.cids, cid)
	}
}
