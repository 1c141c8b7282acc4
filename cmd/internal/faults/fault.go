package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// fault is one deliberate fault.
type fault struct {
	name   string
	breaks string // the promise
	file   string // from the root
	was    string // whole lines of it
	now    string // what stands there instead
	pkg    string // whose test finds it
	run    string // which one, as for go test -run
}

// all are the faults of every table.
func all() []fault {
	return slices.Concat(engineFaults, journalFaults, hostFaults, hostileFaults, moveFaults, serviceFaults)
}

// mutate is the file with the fault in it.
func (f fault) mutate(root string) ([]byte, error) {
	src, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(f.file)))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.name, err)
	}
	was := []byte(f.was)
	if n := bytes.Count(src, was); n != 1 {
		return nil, fmt.Errorf("%s: its lines stand %d times in %s, once is wanted: the table has to follow the code", f.name, n, f.file)
	}
	at := bytes.Index(src, was)
	if was[len(was)-1] != '\n' || at > 0 && src[at-1] != '\n' {
		return nil, fmt.Errorf("%s: it does not replace whole lines of %s", f.name, f.file)
	}
	return bytes.Replace(src, was, []byte(f.now), 1), nil
}

// overlay writes the mutated file and go's description of it to dir, and
// returns the latter's name.
func (f fault) overlay(root, dir string) (string, error) {
	src, err := f.mutate(root)
	if err != nil {
		return "", err
	}
	root, err = filepath.Abs(root)
	if err != nil {
		return "", fmt.Errorf("%s: %w", f.name, err)
	}
	mutant, list := filepath.Join(dir, "mutant.go"), filepath.Join(dir, "overlay.json")
	text, err := json.Marshal(map[string]map[string]string{
		"Replace": {filepath.Join(root, filepath.FromSlash(f.file)): mutant},
	})
	if err != nil {
		return "", fmt.Errorf("%s: %w", f.name, err)
	}
	if err := os.WriteFile(mutant, src, 0o600); err != nil {
		return "", fmt.Errorf("%s: %w", f.name, err)
	}
	if err := os.WriteFile(list, text, 0o600); err != nil {
		return "", fmt.Errorf("%s: %w", f.name, err)
	}
	return list, nil
}
