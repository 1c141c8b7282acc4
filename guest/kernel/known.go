package kernel

import (
	"slices"
	"time"
)

// known is what boots showed of kernels that everybody has: of the distribution's by
// their release, of ours by the digest of their configuration, which names the
// compiler too. `arcbox kernel probe` made them, on two cores without KVM with QEMU
// 7.2; docs/kernels.md has all of it.
var known = map[string][]Boots{
	"6.1.0-56-cloud-amd64": {
		{Board: "q35", Accel: "tcg", Count: 200, Hung: 1, Median: 1452, P99: 5240, Max: 6586, CPUs: 2, With: "arcbox 7a7cac8", Made: time.Date(2026, 11, 28, 2, 55, 28, 0, time.UTC)},
		{Board: "microvm", Accel: "tcg", Count: 200, Median: 1200, P99: 2348, Max: 2452, CPUs: 2, With: "arcbox 7a7cac8", Made: time.Date(2026, 11, 28, 2, 42, 33, 0, time.UTC)},
	},
	// linux-source-6.1 6.1.192-2 with guest/boot/kernel/*.config of that day, gcc 12.
	"04945791c6ff623cfc38dcc01ddfbe54bf8cd01568bcc045a3c2843441764e4b": {
		{Board: "q35", Accel: "tcg", Count: 200, Median: 1169, P99: 4084, Max: 5378, CPUs: 2, With: "arcbox b04620a", Made: time.Date(2026, 11, 28, 3, 6, 45, 0, time.UTC)},
		{Board: "microvm", Accel: "tcg", Count: 200, Median: 922, P99: 3775, Max: 4509, CPUs: 2, With: "arcbox b04620a", Made: time.Date(2026, 11, 28, 3, 1, 20, 0, time.UTC)},
	},
}

// knownBoots are those of a kernel, for boards and accelerators of which nothing
// else is recorded.
func knownBoots(what string, recorded []Boots) []Boots {
	all := slices.Clone(recorded)
	for _, k := range known[what] {
		if !slices.ContainsFunc(all, func(b Boots) bool { return b.Board == k.Board && b.Accel == k.Accel }) {
			all = append(all, k)
		}
	}
	return all
}
