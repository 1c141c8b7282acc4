package journal

import (
	"fmt"
	"slices"
	"strings"

	"github.com/arcboxlabs/arcbox-engine/fsm"
)

// claims are the names and CIDs that machines hold at one point of a history.
// Those of damaged machines are not among them: what they gave up may be lost.
type claims struct {
	holder map[claim]string // of each name and CID
	held   map[string]*held // by each machine
}

func newClaims() claims { return claims{map[claim]string{}, map[string]*held{}} }

// claim is a name, in lower case, or a CID.
type claim struct {
	name string
	cid  uint32 // 0 = it is a name
}

func (c claim) String() string {
	if c.cid != 0 {
		return fmt.Sprintf("the CID %d", c.cid)
	}
	return "the name " + c.name
}

// held is what one machine holds: a name as its fold says it, and a CID unless
// it is 0. The zero value is nothing.
type held struct {
	any  bool
	name string
	cid  uint32
}

// add lists it behind what is in the list.
func (h held) add(to []claim) []claim {
	if h.any {
		to = append(to, claim{name: strings.ToLower(h.name)})
	}
	if h.cid != 0 {
		to = append(to, claim{cid: h.cid})
	}
	return to
}

// set makes a machine hold what its fold says, and tells f of whatever another
// one holds as well, once of each.
func (c claims) set(m *fsm.Machine, f func(what claim, other string)) {
	var now held
	if m.State != fsm.Removed && !m.Damaged {
		now.any, now.name = true, m.Name
		if m.Launch != nil {
			now.cid = m.Launch.CID
		}
	}
	h := c.held[m.ID]
	if h == nil {
		h = &held{}
		c.held[m.ID] = h
	}
	if *h == now {
		return
	}
	var a, b [2]claim
	before, after := h.add(a[:0]), now.add(b[:0])
	c.give(m.ID, before, after)
	for _, what := range after {
		if other, ok := c.holder[what]; !ok {
			c.holder[what] = m.ID
		} else if !slices.Contains(before, what) {
			f(what, other)
		}
	}
	*h = now
}

// give gives up what a machine holds, but for what it keeps.
func (c claims) give(id string, all, keeps []claim) {
	for _, what := range all {
		if !slices.Contains(keeps, what) && c.holder[what] == id {
			delete(c.holder, what)
		}
	}
}

// drop makes a machine hold nothing.
func (c claims) drop(id string) {
	if h := c.held[id]; h != nil {
		c.give(id, h.add(nil), nil)
		delete(c.held, id)
	}
}
