package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
)

// row is one line of the table; all but what is text for people.
type row struct {
	what   string
	aim    string
	ours   string
	rival  string // what it is held against, and its figure
	ratio  string
	runs   int
	hit    verdict
	remark string
}

type verdict string

const (
	reached verdict = "yes"
	missed  verdict = "**no**"
	noAim   verdict = ""
)

func judge(ok bool) verdict {
	if ok {
		return reached
	}
	return missed
}

// table is what a run found.
type table struct {
	host   host
	rows   []row
	stages []stage // of a boot
	boots  int
}

func (t *table) add(r row) { t.rows = append(t.rows, r) }

const head = `# Benchmarks

Written by ` + "`./task bench`" + `, which anybody can run again; do not edit. It builds, runs the Go benchmarks
(` + "`.ci/gotest bench`" + `), then the built binaries (` + "`cmd/internal/bench`" + `), and writes this file.

Figures are medians. What is held against a rival was measured in one run with it, turn by turn: the ratios
count, absolute figures are of this host at that time. Nothing here is a test that passes or fails.
`

func (t *table) write(w io.Writer) error {
	var s strings.Builder
	s.WriteString(head)
	t.host.write(&s)
	s.WriteString("\n| what | aim | ArcBox | held against | ratio | runs | reached |\n|---|---|---|---|---|---|---|\n")
	for _, r := range t.rows {
		runs := ""
		if r.runs > 0 {
			runs = fmt.Sprint(r.runs)
		}
		what := r.what
		if r.remark != "" {
			what += " (" + r.remark + ")"
		}
		s.WriteString("| " + strings.Join([]string{what, r.aim, r.ours, r.rival, r.ratio, runs, string(r.hit)}, " | ") + " |\n")
	}
	if len(t.stages) > 0 {
		t.writeStages(&s)
	}
	s.WriteString(foot)
	_, err := io.WriteString(w, s.String())
	return err
}

// foot says how the rows were made.
const foot = `
## How

- **start**: from the request on an open connection to its answer, the machine Running: agent greeted, ` + "`ready`" + ` synced.
  The engine's own line is its QEMU command line without vsock, QMP and ` + "`-S`" + `, with the same kernel and initramfs, until
  the first user-space line is on the serial line. The naive line is ` + "`-M q35 -kernel vmlinuz`" + ` with the same initramfs, memory and
  accelerator, and ` + "`console=ttyS0`" + `.
- **exec**: whole processes in turn, without standard input; ssh goes to the SSH of the same guest's agent, logged in anew each
  time, or by a ControlMaster that is there.
- **network**: 256 MiB a turn, one connection at a time, in turn with a guest of QEMU alone: the same kernel, board, initramfs
  and program, one interface in QEMU's user network. Ours goes through the agent, over vsock. Between machines it goes
  through the network process. The DNS answer is timed by a program in the guest, its own work included.
- **shared folder**: whole processes, the guest's cache of the share dropped before each; scp and ` + "`arcbox cp`" + ` carry the same files
  into the guest's memory, or out of it.
- **tar to EROFS**: whole processes, the files in the page cache. Ours reads the plain tar that ` + "`.ci/roots`" + ` made, computes its
  SHA-256 and the image's, and syncs; ` + "`mkfs.erofs`" + ` does neither.
- **list**: a whole process, from fork to its end, output thrown away. libvirtd runs unprivileged (` + "`qemu:///session`" + `)
  with as many domains, none running; ` + "`virsh list --all`" + `.
- **create**: one request at a time over one connection, the next when the answer to the last is there (synced);
  ` + "`virsh define`" + ` likewise, many in one virsh, less what a virsh that only connects takes. Pipelined: 256 requests under way.
- **append**: ` + "`go test -bench 'Append64|RawPebble64' ./journal`" + `, the two in turn.
- **engine start**: from the fork of the engine to the answer of ` + "`list`" + `, after ` + "`kill -9`" + `; the machines have directories and
  a history of 20 runs each. Files are in the page cache.
- **memory**: ` + "`RssAnon + RssFile`" + `, at rest. Wake-ups are context switches of all threads, as /proc counts them; the idle
  program waits for a signal and does nothing else.
`

func (t *table) save(path string) error {
	var s strings.Builder
	if err := t.write(&s); err != nil {
		return err
	}
	if err := os.WriteFile(path, []byte(s.String()), 0o644); err != nil {
		return fmt.Errorf("write the table: %w", err)
	}
	return nil
}

// median is the middle one of some figures, the mean of two where there is none.
func median[T time.Duration | float64](of []T) T {
	if len(of) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(of))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

// paired is the median of the ratios of figures that were measured side by
// side: what slowed one turn slowed both of its halves.
func paired[T time.Duration | float64](ours, rival []T) float64 {
	var r []float64
	for i := range min(len(ours), len(rival)) {
		r = append(r, float64(ours[i])/float64(rival[i]))
	}
	return median(r)
}

func ms(d time.Duration) string {
	f := float64(d) / float64(time.Millisecond)
	switch {
	case f >= 100:
		return fmt.Sprintf("%.0f ms", f)
	case f >= 1:
		return fmt.Sprintf("%.1f ms", f)
	}
	return fmt.Sprintf("%.2f ms", f)
}

func times(f float64) string { return fmt.Sprintf("%.2f ×", f) }

// rate is a number of things a second, in words.
func rate(f float64) string {
	s := fmt.Sprintf("%.0f", f)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s + "/s"
}

func mib(bytes float64) string { return fmt.Sprintf("%.1f MiB", bytes/(1<<20)) }
