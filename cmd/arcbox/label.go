package main

import (
	"regexp"
	"strings"
)

var labelKey = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?$`)

// maxLabelValue is how many bytes the value of a label may have.
const maxLabelValue = 128

// parseLabels reads KEY and KEY=VALUE, each key once.
func parseLabels(texts []string) (map[string]string, error) {
	if len(texts) == 0 {
		return nil, nil
	}
	labels := map[string]string{}
	for _, text := range texts {
		key, value, _ := strings.Cut(text, "=")
		if !labelKey.MatchString(key) {
			return nil, badInput("label", "--label %q: KEY or KEY=VALUE, a key of 1 to 63 letters, digits and . _ / -, with a letter or digit at both ends", shorten(text, 80))
		}
		if len(value) > maxLabelValue || printable(value) != value {
			return nil, badInput("label", "--label %q: a value of at most %d bytes on one line", shorten(text, 80), maxLabelValue)
		}
		if _, twice := labels[key]; twice {
			return nil, badInput("label", "--label %q: %s is there twice", shorten(text, 80), key)
		}
		labels[key] = value
	}
	return labels, nil
}
