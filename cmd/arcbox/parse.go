package main

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"
)

const mib = 1 << 20

var sizeUnits = map[string]int64{"": mib, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}

// parseSize reads a size: K, M, G and T are binary, with or without iB or B
// behind them; a bare number is MiB. 1.5G is fine as long as whole bytes come
// out.
func parseSize(text string) (int64, error) {
	s := strings.ToLower(strings.TrimSpace(text))
	end := strings.LastIndexAny(s, "0123456789.") + 1
	number, unit := s[:end], strings.TrimSpace(s[end:])
	if unit != "" {
		if short := strings.TrimSuffix(strings.TrimSuffix(unit, "b"), "i"); len(short) == 1 {
			unit = short
		}
	}
	factor, known := sizeUnits[unit]
	value, ok := decimal(number)
	if !known || !ok {
		return 0, fmt.Errorf("%q: a number, bare for MiB or with K, M, G or T (binary), as in 512M or 4G", text)
	}
	value.Mul(value, new(big.Rat).SetInt64(factor))
	if !value.IsInt() || !value.Num().IsInt64() {
		return 0, fmt.Errorf("%q: whole bytes are needed, at most %d", text, int64(math.MaxInt64))
	}
	return value.Num().Int64(), nil
}

// decimal reads digits with at most one point. big.Rat alone would take signs,
// fractions and exponents as well.
func decimal(s string) (*big.Rat, bool) {
	if s == "" || len(s) > 24 || strings.Trim(s, "0123456789.") != "" {
		return nil, false
	}
	return new(big.Rat).SetString(s)
}

// formatSize is the shortest exact form: 4G, 512M, 1536M.
func formatSize(n int64) string {
	for _, u := range []struct {
		unit string
		size int64
	}{{"T", 1 << 40}, {"G", 1 << 30}, {"M", 1 << 20}, {"K", 1 << 10}} {
		if n >= u.size && n%u.size == 0 {
			return strconv.FormatInt(n/u.size, 10) + u.unit
		}
	}
	return strconv.FormatInt(n, 10)
}

// parseDuration reads 30s, 1m30s, 500ms; a bare number is seconds.
func parseDuration(text string) (time.Duration, error) {
	if n, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(n) * time.Second, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%q: a duration such as 30s, 2m or 500ms; a bare number is seconds", text)
	}
	return d, nil
}

// parseSince reads a point in time: so long ago, or RFC 3339.
func parseSince(text string, now time.Time) (time.Time, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return now.AddDate(0, 0, -int(n)), nil
		}
	}
	if d, err := parseDuration(text); err == nil {
		return now.Add(-d), nil
	}
	return parseTime(text, now)
}

// age is a duration for people: one unit, rounded down.
func age(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < 2*time.Minute:
		return strconv.Itoa(int(d/time.Second)) + "s"
	case d < 2*time.Hour:
		return strconv.Itoa(int(d/time.Minute)) + "m"
	case d < 48*time.Hour:
		return strconv.Itoa(int(d/time.Hour)) + "h"
	}
	return strconv.Itoa(int(d/(24*time.Hour))) + "d"
}

// Values of flags, for pflag.

type sizeValue int64

func (v *sizeValue) String() string { return formatSize(int64(*v)) }
func (v *sizeValue) Type() string   { return "size" }
func (v *sizeValue) Set(s string) error {
	n, err := parseSize(s)
	*v = sizeValue(n)
	return err
}

// limitValue is a duration of at least a millisecond; 0 would mean a default
// somewhere further down, which is not what it says.
type limitValue time.Duration

func (v *limitValue) String() string {
	if *v == 0 {
		return "" // none
	}
	return time.Duration(*v).String()
}
func (v *limitValue) Type() string { return "duration" }
func (v *limitValue) Set(s string) error {
	d, err := parseDuration(s)
	if err == nil && d < time.Millisecond {
		err = fmt.Errorf("%q: at least 1ms", s)
	}
	*v = limitValue(d)
	return err
}
