package main

import (
	"errors"
	"path/filepath"
)

// hostPath is a path on the engine's host, as it goes into a machine's spec. It
// becomes absolute, for the engine runs in another directory; where the engine is
// far, it has to be, and nothing here can look at it.
func hostPath(text string, far bool) (string, error) {
	if !far {
		return filepath.Abs(text)
	}
	if !filepath.IsAbs(text) {
		return "", errors.New("the engine is another host's: an absolute path there is needed")
	}
	return filepath.Clean(text), nil
}
