package kernel

import (
	"fmt"
	"slices"
	"time"
)

// Boots is what a number of boots in a row showed of a kernel on one board.
type Boots struct {
	Board string `json:"board"` // "q35" or "microvm"
	Accel string `json:"accel"` // "tcg" or "kvm"
	Count int    `json:"count"`
	Hung  int    `json:"hung"` // that did not come up in the time allowed
	// Panicked are those among them in which the guest's kernel panicked.
	Panicked int    `json:"panicked,omitempty"`
	Median   int64  `json:"median"` // milliseconds from the start to the agent's answer
	P99      int64  `json:"p99"`
	Max      int64  `json:"max"`
	CPUs     int    `json:"cpus"` // of the machine
	With     string `json:"with,omitempty"`
	// Made is when the last of them ended.
	Made time.Time `json:"made"`
}

// Enough is how many boots, none of which hung, it takes to trust a board.
const Enough = 200

// The boards and accelerators that a record may be of.
var (
	Boards = []string{"q35", "microvm"}
	accels = []string{"tcg", "kvm"}
)

func (m Manifest) checkBoots() error {
	for _, b := range m.Boots {
		if err := b.check(); err != nil {
			return fmt.Errorf("%s: %w: %w", manifestName, ErrNoBundle, err)
		}
	}
	return nil
}

func (b Boots) check() error {
	switch {
	case !slices.Contains(Boards, b.Board):
		return fmt.Errorf("boots: board %q, q35 and microvm are known", clip(b.Board))
	case !slices.Contains(accels, b.Accel):
		return fmt.Errorf("boots: accel %q, tcg and kvm are known", clip(b.Accel))
	case b.Count < 1 || b.Hung < 0 || b.Hung > b.Count || b.Panicked < 0 || b.Panicked > b.Hung:
		return fmt.Errorf("boots: %d of %d hung, %d panicked", b.Hung, b.Count, b.Panicked)
	}
	return nil
}

// Took makes the record of how long boots took that came up, and of how many
// did not.
func Took(times []time.Duration, hung int) Boots {
	b := Boots{Count: len(times) + hung, Hung: hung}
	if len(times) == 0 {
		return b
	}
	sorted := slices.Sorted(slices.Values(times))
	at := func(share float64) int64 { return sorted[int(share*float64(len(sorted)-1)+0.5)].Milliseconds() }
	b.Median, b.P99, b.Max = at(0.5), at(0.99), at(1)
	return b
}

// keep puts a record in, in place of an older one of the same board and accel. A
// few boots that came up say nothing against many that did.
func keep(all []Boots, b Boots) []Boots {
	for _, o := range all {
		if o.Board == b.Board && o.Accel == b.Accel && b.Hung == 0 && o.Hung == 0 && b.Count < o.Count {
			return all
		}
	}
	all = slices.DeleteFunc(slices.Clone(all), func(o Boots) bool { return o.Board == b.Board && o.Accel == b.Accel })
	return append(all, b)
}

// Choose says which board a machine gets that leaves it to its kernel, and the
// accelerator for which that holds: "" = for every one. Where nothing is known it
// is a q35.
func Choose(boots []Boots) (board, accel string) {
	var good []string
	for _, b := range boots {
		if b.Board == "microvm" && b.Hung == 0 && b.Count >= Enough {
			good = append(good, b.Accel)
		}
	}
	switch len(good) {
	case 0:
		return "q35", ""
	case 1:
		return "microvm", good[0]
	}
	return "microvm", ""
}
