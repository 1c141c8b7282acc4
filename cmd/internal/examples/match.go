package examples

import "strings"

// anything stands for any text in a line, and alone for any lines.
const anything = "..."

// agreed is what a line counts that is as the example says; one that "..." stands
// for counts 1, as does the "..." itself, so that a diff shows what is the same.
const agreed = 3

// Compare says where what was printed is not what the example says, as a diff:
// "" where it is.
func (e Example) Compare(printed string) string {
	want, got := trim(e.Want), trim(strings.Split(printed, "\n"))
	rest := agreement(want, got)
	if rest[0][0] == most(want, got) {
		return ""
	}
	return diff(want, got, rest)
}

// trim makes lines comparable.
func trim(lines []string) []string {
	out := make([]string, 0, len(lines))
	for _, l := range lines {
		indent := l[:len(l)-len(strings.TrimLeft(l, " \t"))]
		out = append(out, strings.TrimRight(blank(indent)+strings.Join(strings.Fields(l), " "), " "))
	}
	for len(out) > 0 && out[len(out)-1] == "" {
		out = out[:len(out)-1]
	}
	return out
}

// blank is a run of blanks as one.
func blank(run string) string {
	if run == "" {
		return ""
	}
	return " "
}

// most is the agreement of what is the same: all lines of want, and those of got
// that "..." stands for.
func most(want, got []string) int {
	dots := 0
	for _, w := range want {
		if w == anything {
			dots++
		}
	}
	lines := len(want) - dots
	return agreed*lines + len(got) - lines + dots
}

// agreement is, for each place in both, how much of what is behind it agrees at
// the best. It is what diff walks along.
func agreement(want, got []string) [][]int {
	rest := make([][]int, len(want)+1)
	for i := range rest {
		rest[i] = make([]int, len(got)+1)
	}
	for i := len(want) - 1; i >= 0; i-- {
		for j := len(got); j >= 0; j-- {
			best := rest[i+1][j]
			if want[i] == anything {
				best++ // for nothing
			}
			if j < len(got) {
				best = max(best, rest[i][j+1], takes(want[i], got[j], rest[i+1][j+1], rest[i][j+1]))
			}
			rest[i][j] = best
		}
	}
	return rest
}

// takes is the agreement where a line of want stands for one of got, -1 where it
// does not.
func takes(want, got string, both, again int) int {
	switch {
	case want == anything:
		return again + 1
	case like(want, got):
		return both + agreed
	}
	return -1
}

// like says whether a line is what a pattern stands for.
func like(pattern, line string) bool {
	parts := strings.Split(pattern, anything)
	if len(parts) == 1 {
		return pattern == line
	}
	first, last := parts[0], parts[len(parts)-1]
	if len(line) < len(first)+len(last) || !strings.HasPrefix(line, first) || !strings.HasSuffix(line, last) {
		return false
	}
	line = line[len(first) : len(line)-len(last)]
	for _, part := range parts[1 : len(parts)-1] {
		_, after, found := strings.Cut(line, part)
		if !found {
			return false
		}
		line = after
	}
	return true
}

// diff shows both, line by line: "-" is missing, "+" was printed instead.
func diff(want, got []string, rest [][]int) string {
	var out strings.Builder
	show := func(sign, line string) { out.WriteString(sign + line + "\n") }
	i, j := 0, 0
	for i < len(want) || j < len(got) {
		switch {
		case i < len(want) && j < len(got) && takes(want[i], got[j], rest[i+1][j+1], rest[i][j+1]) == rest[i][j]:
			show("  ", got[j])
			if j++; want[i] != anything {
				i++
			}
		case i < len(want) && want[i] == anything && rest[i][j] == rest[i+1][j]+1:
			i++
		case i < len(want) && rest[i][j] == rest[i+1][j]:
			show("- ", want[i])
			i++
		default:
			show("+ ", got[j])
			j++
		}
	}
	return out.String()
}
