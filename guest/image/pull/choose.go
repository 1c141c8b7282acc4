package pull

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/arcboxlabs/arcbox-engine/guest/image"
)

var versionForm = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]*$`)

// names are what a version of a distribution is called: 12, bookworm.
func (p product) names() []string {
	found := []string{strings.ToLower(p.Release), strings.ToLower(p.Title)}
	for alias := range strings.SplitSeq(p.Aliases, ",") {
		if parts := strings.Split(strings.ToLower(strings.TrimSpace(alias)), "/"); len(parts) > 1 {
			found = append(found, parts[1])
		}
	}
	found = slices.DeleteFunc(found, func(n string) bool { return n == bestVariant || !versionForm.MatchString(n) || len(n) > 60 })
	slices.Sort(found)
	return slices.Compact(found)
}

// version is the name that says most: a number, else the release.
func (p product) version() string {
	for _, n := range p.names() {
		if numbers(n) != nil {
			return n
		}
	}
	return strings.ToLower(p.Release)
}

// numbers are those of a version like 24.04, nil where it is something else.
func numbers(version string) []int {
	var found []int
	for part := range strings.SplitSeq(version, ".") {
		n, err := strconv.Atoi(part)
		if err != nil || n < 0 {
			return nil
		}
		found = append(found, n)
	}
	return found
}

// choose finds what a reference means. Without a version it is the newest that
// has a number, or the one that is called current, or the only one.
func choose(all []product, ref image.Ref) (product, error) {
	var same []product
	for _, p := range all {
		if strings.ToLower(p.OS) == ref.Distribution {
			same = append(same, p)
		}
	}
	if len(same) == 0 {
		return product{}, fmt.Errorf("%q: %w; it has %s", ref.Distribution, ErrUnknown, nearest(ref.Distribution, distributions(all)))
	}
	if ref.Version != "" {
		for _, p := range same {
			if slices.Contains(p.names(), ref.Version) {
				return p, nil
			}
		}
	} else if p, ok := latest(same); ok {
		return p, nil
	}
	return product{}, fmt.Errorf("%q: %w; of %s it has %s", ref.Source, ErrUnknown, ref.Distribution, versions(same))
}

func latest(same []product) (product, bool) {
	best := slices.MaxFunc(same, func(a, b product) int { return slices.Compare(numbers(a.version()), numbers(b.version())) })
	if numbers(best.version()) != nil || len(same) == 1 {
		return best, true
	}
	i := slices.IndexFunc(same, func(p product) bool { return slices.Contains(p.names(), "current") })
	if i < 0 {
		return product{}, false
	}
	return same[i], true
}

func distributions(all []product) []string {
	var found []string
	for _, p := range all {
		found = append(found, strings.ToLower(p.OS))
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// versions lists how the versions of one distribution are called.
func versions(same []product) string {
	var found []string
	for _, p := range same {
		found = append(found, ref(p)+also(p))
	}
	slices.Sort(found)
	return strings.Join(found, ", ")
}

func ref(p product) string { return strings.ToLower(p.OS) + ":" + p.version() }

// also is the release's name where its version is a number.
func also(p product) string {
	if r := strings.ToLower(p.Release); r != "" && r != p.version() {
		return " (" + r + ")"
	}
	return ""
}

const maxNearest = 8

// nearest lists the names that look most like the one that is not there.
func nearest(name string, all []string) string {
	if len(all) == 0 {
		return "none for this architecture"
	}
	slices.SortStableFunc(all, func(a, b string) int { return cmp.Compare(distance(name, a), distance(name, b)) })
	list := strings.Join(all[:min(len(all), maxNearest)], ", ")
	if rest := len(all) - maxNearest; rest > 0 {
		list += fmt.Sprintf(" and %d more", rest)
	}
	return list
}

// distance is how many letters have to be put, removed or changed.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
