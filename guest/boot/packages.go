package boot

import (
	"fmt"
	"regexp"
	"strings"
)

// KernelSource says which packages of a distribution hold the kernel that
// guests run: a package that only depends on the newest one, and what goes with
// that.
type KernelSource struct {
	Meta string // its Depends names the real package
	// With, with the release in place of %s, are needed beside the image.
	With []string
	// Extra is fetched only where a needed module is in none of the others.
	Extra []string
}

// distribution is one row of the table: a distribution and release, by the ID
// and VERSION_ID of its os-release file.
type distribution struct {
	id, version string
	source      func(arch string) KernelSource
}

var distributions = []distribution{
	{"debian", "12", debianCloud},
	{"debian", "13", debianCloud},
	{"ubuntu", "24.04", ubuntuVirtual},
}

// debianCloud is the kernel for virtual machines: one package, all modules.
func debianCloud(arch string) KernelSource {
	return KernelSource{Meta: "linux-image-cloud-" + arch}
}

// ubuntuVirtual is the generic kernel; its modules are packages of their own.
func ubuntuVirtual(string) KernelSource {
	return KernelSource{
		Meta:  "linux-image-virtual",
		With:  []string{"linux-modules-%s"},
		Extra: []string{"linux-modules-extra-%s"},
	}
}

// KernelSourceFor finds the row for a distribution. arch is as Go names it,
// which for amd64 and arm64 is also Debian's name.
func KernelSourceFor(id, version, arch string) (KernelSource, error) {
	if arch != "amd64" && arch != "arm64" {
		return KernelSource{}, fmt.Errorf("kernel packages: architecture %q: amd64 and arm64 are known", arch)
	}
	var known []string
	for _, d := range distributions {
		if d.id == id && d.version == version {
			return d.source(arch), nil
		}
		known = append(known, d.id+" "+d.version)
	}
	return KernelSource{}, fmt.Errorf("kernel packages: distribution %q: known are %s; on others unpack a kernel package by hand and name the directory with --kernel-tree",
		strings.TrimSpace(id+" "+version), strings.Join(known, ", "))
}

// kernelImage is the name of a package with a kernel image in it. Packages
// named -unsigned or after a flavour alone (linux-image-generic) are not meant.
var kernelImage = regexp.MustCompile(`^linux-image-([0-9][0-9A-Za-z.+~-]*)$`)

// Image finds the real kernel package in the Depends field of the meta
// package, and the release that it is named after.
func (s KernelSource) Image(depends string) (pkg, release string, err error) {
	for _, clause := range strings.Split(depends, ",") {
		for _, alternative := range strings.Split(clause, "|") {
			name, _, _ := strings.Cut(strings.TrimSpace(alternative), " ")
			name, _, _ = strings.Cut(name, ":")
			if m := kernelImage.FindStringSubmatch(name); m != nil {
				return name, m[1], nil
			}
		}
	}
	return "", "", fmt.Errorf("kernel packages: %s depends on %q, which names no linux-image-<release>", s.Meta, depends)
}

// named puts the release into package names.
func named(patterns []string, release string) []string {
	var names []string
	for _, p := range patterns {
		names = append(names, strings.ReplaceAll(p, "%s", release))
	}
	return names
}

// parseFields reads lines of the form key<sep>value up to the first empty
// line: a control stanza (": ") or an os-release file ("="). Continuation lines
// and anything else are passed over. A key that comes twice keeps its first
// value.
func parseFields(text, sep string) map[string]string {
	fields := map[string]string{}
	for _, line := range strings.Split(text, "\n") {
		line = strings.TrimRight(line, "\r")
		if line == "" && len(fields) > 0 {
			break
		}
		key, value, ok := strings.Cut(line, sep)
		if !ok || key == "" || key[0] == ' ' || key[0] == '#' {
			continue
		}
		if _, again := fields[key]; !again {
			fields[key] = strings.Trim(strings.TrimSpace(value), `"'`)
		}
	}
	return fields
}
