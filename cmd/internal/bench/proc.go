package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// residentBytes is what a process holds of memory, but for what it shares with
// a guest: anonymous pages, and pages of files, its own binary among them.
func residentBytes(pid int) (float64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("memory of a process: %w", err)
	}
	return (number(status, "RssAnon:") + number(status, "RssFile:")) * 1024, nil
}

// switches counts how often the threads of a process were put on a processor.
func switches(pid int) (float64, error) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(threads) == 0 {
		return 0, fmt.Errorf("threads of process %d: none found", pid)
	}
	sum := 0.0
	for _, path := range threads {
		if status, err := os.ReadFile(path); err == nil { // else it has just ended
			sum += number(status, "voluntary_ctxt_switches:") + number(status, "nonvoluntary_ctxt_switches:")
		}
	}
	return sum, nil
}

// number is the number behind a name at a line's beginning.
func number(status []byte, name string) float64 {
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			f, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
			n, err := strconv.ParseFloat(f, 64)
			if err != nil {
				return 0
			}
			return n
		}
	}
	return 0
}

// processWith finds the process of a program that has a file below dir open.
func processWith(program, dir string) (int, error) {
	all, err := os.ReadDir("/proc")
	if err != nil {
		return 0, fmt.Errorf("find %s: %w", program, err)
	}
	for _, entry := range all {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		comm, err := os.ReadFile(filepath.Join("/proc", entry.Name(), "comm"))
		if err != nil || !strings.HasPrefix(program, strings.TrimSpace(string(comm))) {
			continue
		}
		fds, err := filepath.Glob(filepath.Join("/proc", entry.Name(), "fd", "*"))
		if err != nil {
			continue
		}
		for _, fd := range fds {
			if to, err := os.Readlink(fd); err == nil && strings.HasPrefix(to, dir+"/") {
				return pid, nil
			}
		}
	}
	return 0, fmt.Errorf("find %s: no such process of %s", program, dir)
}
