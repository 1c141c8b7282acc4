package process

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// MaxInput bounds what a process gets on its standard input, its checksum
// included.
const MaxInput = 256 << 10

// inputTime is how long the input may take: an engine that was stopped half-way
// must not leave a process that holds a lock for ever.
const inputTime = 30 * time.Second

// Seal makes what a process gets on its standard input of one line.
func Seal(line []byte) ([]byte, error) {
	sum := sha256.Sum256(line)
	out := slices.Concat(line, []byte("\n"), []byte(hex.EncodeToString(sum[:])), []byte("\n"))
	if len(out) > MaxInput {
		return nil, fmt.Errorf("%d bytes: at most %d", len(out), MaxInput)
	}
	return out, nil
}

// Unseal reads what Seal made, to the end of r. It refuses what was cut short,
// what goes on after its checksum, and what does not match it.
func Unseal(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxInput+1))
	if err != nil {
		return nil, err
	}
	if len(data) > MaxInput {
		return nil, fmt.Errorf("longer than %d bytes", MaxInput)
	}
	line, sum, ok := bytes.Cut(data, []byte("\n"))
	if !ok || len(sum) != 2*sha256.Size+1 || sum[len(sum)-1] != '\n' {
		return nil, fmt.Errorf("cut short after %d bytes", len(data))
	}
	want := sha256.Sum256(line)
	if string(sum[:len(sum)-1]) != hex.EncodeToString(want[:]) {
		return nil, fmt.Errorf("does not match its checksum")
	}
	return line, nil
}

// Input decodes what comes on standard input, and waits for it for a while only.
func Input[T any](r io.Reader, decode func(io.Reader) (T, error)) (T, error) {
	type result struct {
		v   T
		err error
	}
	results := make(chan result, 1)
	go func() {
		v, err := decode(r)
		results <- result{v, err}
	}()
	select {
	case res := <-results:
		return res.v, res.err
	case <-time.After(inputTime):
		var none T
		return none, fmt.Errorf("did not arrive within %s", inputTime)
	}
}

// ScrubEnv keeps of an environment where programs and temporary files are.
func ScrubEnv(environ []string) []string {
	kept := []string{}
	for _, kv := range environ {
		switch name, _, _ := strings.Cut(kv, "="); name {
		case "PATH", "TMPDIR":
			kept = append(kept, kv)
		}
	}
	return kept
}
