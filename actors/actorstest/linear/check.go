package linear

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

// History is what all clients noted of one engine, in any order.
type History struct {
	Ops       []Op
	Undecided []string // names and CIDs that Check gave up on
}

// patience bounds the check of one name or CID: the search is exponential in
// what was not answered, and a busy host answers little. Of one that takes
// longer nobody knows whether it is right; whoever counts them decides how many
// may be.
const patience = 20 * time.Second

// Check tells whether there is an order that explains every answer. What has
// none is drawn into dir, one page each, named in the error.
func (h *History) Check(dir string) error {
	var errs []error
	for i := range h.Ops {
		errs = append(errs, h.Ops[i].sound())
	}
	model := h.nameModel()
	for name, ops := range h.steps(&errs) {
		errs = append(errs, h.check(model, ops, "name "+name, filepath.Join(dir, "name-"+name+".html")))
	}
	for cid, ops := range h.cids() {
		errs = append(errs, h.check(cidModel, ops, fmt.Sprint("CID ", cid), filepath.Join(dir, fmt.Sprintf("cid-%d.html", cid))))
	}
	return errors.Join(errs...)
}

func (h *History) check(m porcupine.Model, ops []porcupine.Operation, what, page string) error {
	result, info := porcupine.CheckOperationsVerbose(m, ops, patience)
	switch result {
	case porcupine.Ok:
		return nil
	case porcupine.Unknown:
		h.Undecided = append(h.Undecided, what)
		return nil
	case porcupine.Illegal:
	}
	err := fmt.Errorf("%s: no order explains what clients saw; drawn in %s\n%s", what, page, story(ops, info))
	if drawn := porcupine.VisualizePath(m, info, page); drawn != nil {
		return errors.Join(err, drawn)
	}
	return err
}

// sound finds the answers that no command should ever have.
func (o *Op) sound() error {
	switch {
	case o.Outcome == Mute:
		return fmt.Errorf("client %d: no answer: %s", o.Client, o)
	case o.Outcome != Refused:
		return nil
	case o.Code == wire.Code_CODE_INTERNAL, o.Code == wire.Code_CODE_BAD_INPUT, o.Code == wire.Code_CODE_TIMEOUT, o.Code == wire.Code_CODE_UNSPECIFIED:
		return fmt.Errorf("client %d: %s", o.Client, o)
	}
	return nil
}

// steps sorts the commands' steps by names. Two machines of one name in one
// answer, and two creates with one id, are faults at sight.
func (h *History) steps(errs *[]error) map[string][]porcupine.Operation {
	of, made := map[string]*names{}, map[string]bool{}
	for i := range h.Ops {
		o := &h.Ops[i]
		if o.Name == "" {
			continue
		}
		if of[key(o.Name)] == nil {
			of[key(o.Name)] = &names{map[string]bool{}, map[string]code{}}
		}
		if id := o.Seen.ID; o.Verb == Create && o.Outcome == Done && id != "" {
			if made[id] {
				*errs = append(*errs, fmt.Errorf("two creates made machine %s", id))
			}
			made[id], of[key(o.Name)].made[id] = true, true
		}
	}
	out := map[string][]porcupine.Operation{}
	for i := range h.Ops {
		o := &h.Ops[i]
		for name, n := range of {
			switch {
			case o.Verb == List || o.Verb == Lost:
				out[name] = append(out[name], o.operations(i, n, o.listed(name, errs))...)
			case name == key(o.Name):
				out[name] = append(out[name], o.operations(i, n, nil)...)
			}
		}
	}
	for _, ops := range out { // for a picture that can be read
		sort.SliceStable(ops, func(i, j int) bool { return ops[i].Call < ops[j].Call })
	}
	return out
}

// listed is what a list shows of a name.
func (o *Op) listed(name string, errs *[]error) (found *Seen) {
	for i := range o.List {
		if key(o.List[i].Name) != name {
			continue
		}
		if found != nil {
			*errs = append(*errs, fmt.Errorf("client %d: one list shows two machines %q: %s and %s", o.Client, name, found.ID, o.List[i].ID))
		}
		found = &o.List[i]
	}
	return found
}

// operations are what porcupine sees of one command: that it was sent, where it
// may do something before it is answered or without an answer, and its answer.
func (o *Op) operations(n int, of *names, seen *Seen) []porcupine.Operation {
	var out []porcupine.Operation
	if o.opens() {
		out = append(out, porcupine.Operation{ClientId: o.Client, Input: asked{o, n}, Call: o.Call, Return: o.Call})
	}
	p := answer{op: o, n: n, seen: seen, of: of}
	switch {
	case o.Verb == Lost: // from here on no more
		out = append(out, porcupine.Operation{ClientId: o.Client, Input: p, Call: o.Return, Return: o.Return})
	case o.answered():
		out = append(out, porcupine.Operation{ClientId: o.Client, Input: p, Call: o.Call, Return: o.Return})
	}
	return out
}

// story is the history until shortly behind the first answer that the longest
// order found has no place for.
func story(ops []porcupine.Operation, info porcupine.LinearizationInfo) string {
	placed := map[string]bool{}
	for _, orders := range info.PartialLinearizationsOperations() {
		for _, order := range orders {
			if len(order) > len(placed) {
				placed = map[string]bool{}
				for _, o := range order {
					placed[line(o)] = true
				}
			}
		}
	}
	first := int64(math.MaxInt64)
	for _, o := range ops {
		if !placed[line(o)] {
			first = min(first, o.Return)
		}
	}
	var out strings.Builder
	for _, o := range ops {
		if o.Call > first {
			break
		}
		mark := "  "
		if !placed[line(o)] {
			mark = "? "
		}
		fmt.Fprintln(&out, mark+line(o))
	}
	return out.String()
}

func line(o porcupine.Operation) string {
	return fmt.Sprintf("%12d to %12d, client %d: %s", o.Call, o.Return, o.ClientId, describe(o.Input))
}
