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
	holder map[string]string   // of each name and CID
	held   map[string][]string // by each machine
}

func newClaims() claims { return claims{map[string]string{}, map[string][]string{}} }

// set makes a machine hold what its fold says, and returns who else holds the
// same. It tells of each once.
func (c claims) set(m fsm.Machine) (others map[string]string) {
	var all []string
	if m.State != fsm.Removed && !m.Damaged {
		all = append(all, "the name "+strings.ToLower(m.Name))
		if m.Launch != nil && m.Launch.CID != 0 {
			all = append(all, fmt.Sprintf("the CID %d", m.Launch.CID))
		}
	}
	before := c.held[m.ID]
	if slices.Equal(before, all) {
		return nil
	}
	c.drop(m.ID)
	others = map[string]string{}
	for _, what := range all {
		if other, ok := c.holder[what]; !ok {
			c.holder[what] = m.ID
		} else if !slices.Contains(before, what) {
			others[what] = other
		}
	}
	c.held[m.ID] = all
	return others
}

// drop makes a machine hold nothing.
func (c claims) drop(id string) {
	for _, what := range c.held[id] {
		if c.holder[what] == id {
			delete(c.holder, what)
		}
	}
	delete(c.held, id)
}
