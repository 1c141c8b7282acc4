package main

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// layouts are the absolute times that people type; those without a zone are of
// this host's.
var layouts = []string{
	time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02",
}

// spans are the units of relative times.
var spans = map[string]time.Duration{
	"s": time.Second, "sec": time.Second, "second": time.Second,
	"m": time.Minute, "min": time.Minute, "minute": time.Minute,
	"h": time.Hour, "hour": time.Hour, "d": 24 * time.Hour, "day": 24 * time.Hour, "w": 7 * 24 * time.Hour, "week": 7 * 24 * time.Hour,
}

var agoPattern = regexp.MustCompile(`^(\d{1,9}|an?)\s*([a-z]+)(?:\s+ago)?$`)

// parseTime reads a time in the past: absolute, or relative to now.
func parseTime(text string, now time.Time) (time.Time, error) {
	s := strings.TrimSpace(text)
	t, ok := absolute(s, now)
	if !ok {
		t, ok = relative(strings.ToLower(s), now)
	}
	switch {
	case !ok:
		return t, fmt.Errorf("%q: a time such as 2026-01-31T12:00:00Z, \"2026-01-31 12:00\", 2026-01-31 or 12:00, or 10m, 2d, \"10 minutes ago\", yesterday", text)
	case t.After(now):
		return t, fmt.Errorf("%q: %s is yet to come", text, t.Format(time.RFC3339))
	case t.Unix() <= 0:
		return t, fmt.Errorf("%q: a time since 1970", text)
	}
	return t, nil
}

func absolute(s string, now time.Time) (time.Time, bool) {
	for _, layout := range layouts {
		if t, err := time.ParseInLocation(layout, s, now.Location()); err == nil {
			return t, true
		}
	}
	for _, layout := range []string{"15:04:05", "15:04"} {
		if t, err := time.Parse(layout, s); err == nil {
			y, m, d := now.Date()
			return time.Date(y, m, d, t.Hour(), t.Minute(), t.Second(), 0, now.Location()), true
		}
	}
	return time.Time{}, false
}

func relative(s string, now time.Time) (time.Time, bool) {
	y, m, d := now.Date()
	switch s {
	case "now":
		return now, true
	case "today":
		return time.Date(y, m, d, 0, 0, 0, 0, now.Location()), true
	case "yesterday":
		return time.Date(y, m, d-1, 0, 0, 0, 0, now.Location()), true
	}
	if parts := agoPattern.FindStringSubmatch(s); parts != nil {
		unit, known := spans[parts[2]]
		if !known {
			unit, known = spans[strings.TrimSuffix(parts[2], "s")]
		}
		n, err := strconv.Atoi(parts[1])
		if err != nil {
			n = 1 // "a", "an"
		}
		if ago := time.Duration(n) * unit; known && ago/unit == time.Duration(n) {
			return now.Add(-ago), true
		}
		return now, false
	}
	if ago, err := time.ParseDuration(strings.TrimSpace(strings.TrimSuffix(s, "ago"))); err == nil && ago >= 0 {
		return now.Add(-ago), true
	}
	return now, false
}

// timeWords puts together the words of a time that a shell has parted: those up
// to "ago", or a date and the time behind it.
func timeWords(args []string) (when string, rest []string) {
	for i, word := range args {
		if word == "ago" {
			return strings.Join(args[:i+1], " "), args[i+1:]
		}
	}
	if len(args) > 1 {
		if both := args[0] + " " + args[1]; datePattern.MatchString(both) {
			return both, args[2:]
		}
	}
	return args[0], args[1:]
}

var datePattern = regexp.MustCompile(`^\d{4}-\d{2}-\d{2} \d{1,2}:\d{2}(:\d{2})?$`)
