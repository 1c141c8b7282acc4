package actors

import (
	"maps"
	"regexp"
	"slices"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/fsm"
)

// What labels may be. Whoever filters writes KEY=VALUE, so that a key has no "=".
const (
	maxLabels     = 64
	maxLabelValue = 128
)

var labelKey = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?$`)

// checkLabels refuses labels that can't be, and tells them anew: nil for none.
func checkLabels(labels map[string]string) (map[string]string, *Refusal) {
	if len(labels) > maxLabels {
		return nil, badInput("label", "%d labels: at most %d", len(labels), maxLabels)
	}
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		switch v := labels[k]; {
		case !labelKey.MatchString(k):
			return nil, badInput("label", "label %q: a key of 1 to 63 letters, digits and . _ / -, with a letter or digit at both ends", clip(k, 80))
		case len(v) > maxLabelValue || hasControl(v):
			return nil, badInput("label", "label %s, value %q: at most %d bytes, no control characters", k, clip(v, 80), maxLabelValue)
		}
	}
	if len(labels) == 0 {
		return nil, nil
	}
	return maps.Clone(labels), nil
}

// changedLabels is a spec with the labels that a request sets and without those that
// it takes away. One that is not there is taken away already.
func changedLabels(s fsm.Spec, w *wire.SetMachine) (fsm.Spec, *Refusal) {
	labels := maps.Clone(s.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	for _, k := range w.GetRemoveLabels() {
		delete(labels, k)
	}
	maps.Copy(labels, w.GetLabels())
	var r *Refusal
	s.Labels, r = checkLabels(labels)
	return s, r
}

// protect keeps a machine from being removed, or no longer. One that lives for a
// command is removed with that, whatever anybody says.
func protect(s fsm.Spec, on bool) (fsm.Spec, *Refusal) {
	if on && s.Owner != "" {
		return s, badInput("protect", "protect: the machine is removed with the command that it was made for")
	}
	s.Protected = on
	return s, nil
}

// removable admits a removal, unless the machine is protected from it.
func removable(remove func(*machine, *command) error) func(*machine, *command) error {
	return func(m *machine, c *command) error {
		if m.state().Spec.Protected {
			return refuse(wire.Code_CODE_UNSAFE, "arcbox unprotect "+m.ref.Name, "machine %q is protected: it can't be removed", m.ref.Name)
		}
		return remove(m, c)
	}
}

// unprotects tells whether a change takes the protection away, and does nothing else.
func unprotects(old, next fsm.Spec) bool {
	was := old.Protected
	old.Protected = false
	return was && old.Equal(next)
}
