package main

import (
	"slices"
	"testing"
	"time"
)

func TestParseTime(t *testing.T) {
	zone := time.FixedZone("there", 2*3600)
	now := time.Date(2026, 11, 27, 15, 30, 0, 0, zone)
	for text, want := range map[string]string{
		"2026-11-20T14:00:00Z":      "2026-11-20T16:00:00+02:00",
		"2026-11-20T14:00:00.5Z":    "2026-11-20T16:00:00.5+02:00",
		"2026-11-20T14:00:00+01:00": "2026-11-20T15:00:00+02:00",
		"2026-11-20 14:00":          "2026-11-20T14:00:00+02:00",
		"2026-11-20 14:00:07":       "2026-11-20T14:00:07+02:00",
		"2026-11-20":                "2026-11-20T00:00:00+02:00",
		"14:00":                     "2026-11-27T14:00:00+02:00",
		"now":                       "2026-11-27T15:30:00+02:00",
		"today":                     "2026-11-27T00:00:00+02:00",
		"Yesterday":                 "2026-11-26T00:00:00+02:00",
		"10 minutes ago":            "2026-11-27T15:20:00+02:00",
		"10m":                       "2026-11-27T15:20:00+02:00",
		"an hour ago":               "2026-11-27T14:30:00+02:00",
		"2d":                        "2026-11-25T15:30:00+02:00",
		"1 week ago":                "2026-11-20T15:30:00+02:00",
		"1h30m":                     "2026-11-27T14:00:00+02:00",
		"90s ago":                   "2026-11-27T15:28:30+02:00",
	} {
		got, err := parseTime(text, now)
		if err != nil || got.In(zone).Format(time.RFC3339Nano) != want {
			t.Errorf("%q: %s, %v, want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", "x", "10", "10 apples ago", "16:00", "2027-01-01", "-5m", "1969-01-01", "999999999w", "ago", "2026-13-01"} {
		if got, err := parseTime(text, now); err == nil {
			t.Errorf("%q is %s", text, got)
		}
	}
}

func TestTimeWords(t *testing.T) {
	for _, c := range []struct {
		args []string
		when string
		rest []string
	}{
		{[]string{"10m"}, "10m", nil},
		{[]string{"10m", "web"}, "10m", []string{"web"}},
		{[]string{"10", "minutes", "ago"}, "10 minutes ago", nil},
		{[]string{"10", "minutes", "ago", "web"}, "10 minutes ago", []string{"web"}},
		{[]string{"2026-11-20", "14:00", "web"}, "2026-11-20 14:00", []string{"web"}},
		{[]string{"2026-11-20", "web"}, "2026-11-20", []string{"web"}},
	} {
		if when, rest := timeWords(c.args); when != c.when || !slices.Equal(rest, c.rest) {
			t.Errorf("%q: %q, %q", c.args, when, rest)
		}
	}
}
