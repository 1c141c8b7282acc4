package linear

import (
	"fmt"
	"strings"

	"github.com/anishathalye/porcupine"
)

// holder is who was last seen with a CID, and the launches that were followed
// by another: they have ended, and must not be seen with it again.
type holder struct{ launch, ended string }

// sight is one machine, live, seen with a CID.
type sight struct {
	op   *Op
	seen Seen
}

// cidModel is the model of one CID.
var cidModel = porcupine.Model{
	Init: func() any { return holder{} },
	Step: func(s, input, _ any) (bool, any) {
		h, launch := s.(holder), input.(sight).seen.Launch
		switch {
		case h.launch == launch:
			return true, h
		case strings.Contains(h.ended, launch):
			return false, h
		case h.launch == "":
			return true, holder{launch, ""}
		}
		return true, holder{launch, h.ended + " " + h.launch}
	},
	DescribeOperation: func(input, _ any) string { return describe(input) },
	DescribeState:     func(s any) string { return fmt.Sprintf("%+v", s) },
}

// cids sorts what was seen of live machines by their CIDs. A relaunch keeps
// the CID, so that only a machine's last launch counts as another's.
func (h *History) cids() map[uint32][]porcupine.Operation {
	out := map[uint32][]porcupine.Operation{}
	for i := range h.Ops {
		o := &h.Ops[i]
		all := o.List
		if o.Outcome == Done && (o.Verb != Remove && o.Verb != Force) {
			all = append(all[:len(all):len(all)], o.Seen)
		}
		for _, s := range all {
			if live(s.State) && s.CID != 0 {
				out[s.CID] = append(out[s.CID], porcupine.Operation{ClientId: o.Client, Input: sight{o, s}, Call: o.Call, Return: o.Return})
			}
		}
	}
	return out
}
