//go:build !linux

package main

import (
	"errors"
	"time"
)

// processorTime is known on Linux only: elsewhere every boot counts.
func processorTime(string) (ran, waited time.Duration, err error) {
	return 0, 0, errors.ErrUnsupported
}
