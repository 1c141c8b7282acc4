package main

import (
	"fmt"
	"math/rand/v2"
)

var (
	nameKinds = []string{
		"bold", "brave", "bright", "brisk", "calm", "clear", "clever", "cosy", "eager", "early", "fair", "fond", "fresh", "gentle", "glad", "golden",
		"happy", "jolly", "keen", "kind", "light", "lively", "lucky", "mellow", "merry", "neat", "noble", "proud", "quick", "quiet", "sunny", "warm",
	}
	nameThings = []string{
		"acorn", "badger", "beech", "birch", "brook", "cedar", "comet", "crane", "dune", "elm", "falcon", "fern", "finch", "fox", "heron", "ibex",
		"lark", "linden", "lynx", "maple", "marten", "moss", "otter", "owl", "pine", "plover", "raven", "reed", "robin", "stork", "swift", "willow",
	}
)

// newName is a name that people can say, and that is hardly ever taken.
func newName() string {
	return fmt.Sprintf("%s-%s-%04x", nameKinds[rand.IntN(len(nameKinds))], nameThings[rand.IntN(len(nameThings))], rand.IntN(1<<16)) //nolint:gosec // no secret
}
