package main

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{
		"512": 512 << 20, "4096": 4 << 30, "1K": 1 << 10, "1k": 1 << 10, "64M": 64 << 20, "64MB": 64 << 20, "64MiB": 64 << 20,
		"4G": 4 << 30, "4 GiB": 4 << 30, "1.5G": 1536 << 20, "2T": 2 << 40, "0": 0, " 1G ": 1 << 30, "0.5": 512 << 10,
	} {
		if got, err := parseSize(text); err != nil || got != want {
			t.Errorf("%q: %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "G", "-1", "+1", "1e3", "1/2", "1.2.3", ".", "1X", "1GG", "1b", "1iB", "1GiBB", "0.1K", "9999999T", "1_000", "١", strings.Repeat("9", 100)} {
		if got, err := parseSize(text); err == nil {
			t.Errorf("%q was taken as %d", text, got)
		}
	}
}

func TestFormattedSizesReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Range(1<<10, 1<<50).Draw(t, "n") &^ 1023
		if got, err := parseSize(formatSize(n)); err != nil || got != n {
			t.Fatalf("%d → %s → %d, %v", n, formatSize(n), got, err)
		}
	})
}

func FuzzParseSize(f *testing.F) {
	for _, s := range []string{"4G", "512", "1.5GiB", "x", "9223372036854775807K"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if n, err := parseSize(s); err == nil && n < 0 {
			t.Errorf("%q: %d", s, n)
		}
	})
}

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"30": 30 * time.Second, "30s": 30 * time.Second, "2m": 2 * time.Minute, "500ms": 500 * time.Millisecond, "1h30m": 90 * time.Minute, "0": 0,
	} {
		if got, err := parseDuration(text); err != nil || got != want {
			t.Errorf("%q: %s, %v; want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", "-1", "-1s", "soon", "99999999999", "1y"} {
		if got, err := parseDuration(text); err == nil {
			t.Errorf("%q was taken as %s", text, got)
		}
	}
}

func TestParseSince(t *testing.T) {
	for text, want := range map[string]time.Time{
		"10m": noon.Add(-10 * time.Minute), "2d": noon.AddDate(0, 0, -2), "90": noon.Add(-90 * time.Second),
		"2026-01-31T11:00:00Z": noon.Add(-time.Hour), "2026-01-31T13:00:00+01:00": noon,
	} {
		if got, err := parseSince(text, noon); err != nil || !got.Equal(want) {
			t.Errorf("%q: %s, %v; want %s", text, got, err, want)
		}
	}
	if _, err := parseSince("tomorrow", noon); err == nil {
		t.Error("tomorrow was taken")
	}
}

func TestAge(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 0: "0s", 119 * time.Second: "119s", 2 * time.Minute: "2m", 119 * time.Minute: "119m",
		3 * time.Hour: "3h", 47 * time.Hour: "47h", 100 * time.Hour: "4d",
	} {
		if got := age(d); got != want {
			t.Errorf("%s: %s, want %s", d, got, want)
		}
	}
}
