package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// processorTime is how long the hypervisor of a machine ran on a processor so far,
// and how long it waited for one, over all its threads. Its command line has the
// machine's id.
func processorTime(id string) (ran, waited time.Duration, err error) {
	names, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return 0, 0, err
	}
	for _, name := range names {
		argv, err := os.ReadFile(name)
		if err == nil && bytes.Contains(argv, []byte("\x00-uuid\x00"+id+"\x00")) {
			return threadTimes(filepath.Dir(name))
		}
	}
	return 0, 0, fmt.Errorf("no process has the machine %s", id)
}

// threadTimes adds up what the scheduler counts of a process's threads.
func threadTimes(process string) (ran, waited time.Duration, err error) {
	names, err := filepath.Glob(process + "/task/*/schedstat")
	if err != nil {
		return 0, 0, err
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // a thread that has ended
		}
		fields := strings.Fields(string(text))
		if len(fields) < 2 {
			return 0, 0, fmt.Errorf("%s: %q", name, text)
		}
		for i, into := range []*time.Duration{&ran, &waited} {
			n, err := strconv.ParseInt(fields[i], 10, 64)
			if err != nil {
				return 0, 0, fmt.Errorf("%s: %w", name, err)
			}
			*into += time.Duration(n)
		}
	}
	return ran, waited, nil
}
