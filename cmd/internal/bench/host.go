package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// host is where a run took place.
type host struct {
	when                  time.Time
	commit, cpu, kernel   string
	memory                string
	qemu                  string
	loadBefore, loadAfter string
}

func describeHost(ctx context.Context) host {
	h := host{when: time.Now().UTC(), loadBefore: load()}
	h.commit = firstLine(ctx, "git", "describe", "--always", "--dirty")
	h.kernel = firstLine(ctx, "uname", "-sr")
	h.qemu = firstLine(ctx, "qemu-system-x86_64", "--version")
	h.cpu = field("/proc/cpuinfo", "model name")
	h.memory = field("/proc/meminfo", "MemTotal")
	return h
}

func firstLine(ctx context.Context, name string, args ...string) string {
	out, err := exec.CommandContext(ctx, name, args...).Output()
	if err != nil {
		return name + " does not say"
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimSpace(line)
}

// field is the first value of a name in one of /proc's files.
func field(path, name string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == name {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// load is how busy the host was in the last minute and the last five.
func load() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	f := strings.Fields(string(b))
	return strings.Join(f[:min(2, len(f))], ", ")
}

func (h host) write(s *strings.Builder) {
	fmt.Fprintf(s, "\n- **Run** of %s, commit %s, %s.\n", h.when.Format("2006-01-02 15:04 UTC"), h.commit, runtime.Version())
	fmt.Fprintf(s, "- **Machine**: %d processors (%s), %s memory, %s, %s.\n", runtime.NumCPU(), h.cpu, h.memory, h.kernel, h.qemu)
	fmt.Fprintf(s, "- **Load** (1 and 5 minutes) before the run: %s; after it: %s. The run itself makes about 1 to 2.\n", h.loadBefore, h.loadAfter)
}
