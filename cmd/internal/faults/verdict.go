package main

import (
	"regexp"
	"strings"
)

// verdict is what a test binary said.
type verdict struct {
	ran     bool   // there is a test of that name
	passed  bool   // and it is content
	failed  bool   // it is not, by its own judgment
	failure string // its first words then
}

var (
	failedTest = regexp.MustCompile(`^\s*--- FAIL: `)
	broke      = regexp.MustCompile(`^(panic|fatal error): `) // a timeout is one, too
	place      = regexp.MustCompile(`^\s*\S+_test\.go:\d+: ?(.*)`)
)

// judge reads the output of a test binary that ended with or without an error.
func judge(out string, err error) verdict {
	v := verdict{ran: !strings.Contains(out, "testing: warning: no tests to run")}
	if err == nil {
		v.passed = v.ran
		return v
	}
	for line := range strings.Lines(out) {
		if broke.MatchString(line) {
			return verdict{ran: v.ran, failure: strings.TrimSpace(line)}
		}
		v.failed = v.failed || failedTest.MatchString(line)
	}
	v.failure = firstWords(out)
	if !v.failed && v.failure == "" {
		v.failure = err.Error()
	}
	return v
}

// firstWords is what a failed test says first, on one line.
func firstWords(out string) string {
	const most = 120
	var words []string
	for line := range strings.Lines(out) {
		at := place.FindStringSubmatch(line)
		if words == nil && at != nil {
			words = append([]string{}, strings.Fields(at[1])...)
			continue
		}
		if at != nil || words != nil && (failedTest.MatchString(line) || line == "FAIL\n") {
			break
		}
		if words != nil {
			words = append(words, strings.Fields(line)...)
		}
	}
	text := strings.Join(words, " ")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + " …"
	}
	return text
}
