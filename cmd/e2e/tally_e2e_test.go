//go:build e2e

package e2e

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// tally counts what the rounds did.
type tally struct {
	began    time.Time
	rounds   int
	blows    map[string]int // by target and signal
	verbs    map[string]int // engines killed during a verb
	acked    int            // operations that were acknowledged
	resumed  int            // of them, by another engine than was asked
	lost     int            // acknowledged and not in the journal
	stuck    int            // machines that came to no rest
	adopted  int
	repaired int
	slow     int // guests that did not answer in time: the host is busy
	survived int // looks at a guest that must have lived on, and had
	lines    int // that guests wrote
	restMax  time.Duration
	fdMax    int // of an engine at rest
	hostFds  int // of a VM host at rest
	rssMax   int // of an engine at rest, KiB
}

func newTally() *tally {
	return &tally{began: time.Now(), blows: map[string]int{}, verbs: map[string]int{}}
}

func counts(m map[string]int) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, fmt.Sprintf("%s %d", k, m[k]))
	}
	return strings.Join(out, ", ")
}

func (t *tally) String() string {
	return fmt.Sprintf("%d rounds in %s; signals: %s; engines killed during: %s; operations acknowledged %d (%d by a later engine), lost %d; "+
		"machines stuck %d; guests too slow %d; adopted %d, repaired %d; guests that lived through a round %d, lines they wrote %d; "+
		"longest way to rest %s; most at rest: %d descriptors and %d MiB in an engine, %d descriptors in a VM host",
		t.rounds, time.Since(t.began).Round(time.Second), counts(t.blows), counts(t.verbs), t.acked, t.resumed, t.lost,
		t.stuck, t.slow, t.adopted, t.repaired, t.survived, t.lines, t.restMax.Round(100*time.Millisecond), t.fdMax, t.rssMax>>10, t.hostFds)
}

// count notes during what an engine is killed: one kill counts once.
func (t *tally) count(ops []*operation) {
	for _, op := range ops {
		if verb := strings.Fields(op.verb)[0]; verb != "exec" {
			t.verbs[verb]++
			return
		}
	}
}
