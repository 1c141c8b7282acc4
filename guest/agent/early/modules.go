package early

import (
	"errors"
	"path"
	"strconv"
	"strings"
)

// Bounds of the list of modules.
const (
	maxModules    = 512
	maxModulePath = 4096
	moduleDir     = "/lib/modules"
)

// parseModules reads the list of modules: one path a line. A bad line is left
// out; the error names the first such line, the rest is good.
func parseModules(text []byte) ([]string, error) {
	var paths []string
	var bad error
	for i, line := range strings.Split(string(text), "\n") {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		fault := ""
		if !path.IsAbs(line) {
			line = path.Join(moduleDir, line)
		}
		if len(paths) == maxModules {
			fault = "more than " + strconv.Itoa(maxModules) + " modules"
		} else {
			fault = faultOf(line)
		}
		if fault == "" {
			paths = append(paths, line)
		} else if bad == nil {
			bad = errors.New("line " + strconv.Itoa(i+1) + ": " + fault)
		}
	}
	return paths, bad
}

// faultOf says what is wrong with a module's path, if anything.
func faultOf(p string) string {
	if len(p) > maxModulePath {
		return "path of " + strconv.Itoa(len(p)) + " bytes, at most " + strconv.Itoa(maxModulePath)
	}
	if strings.IndexByte(p, 0) >= 0 {
		return "path has a NUL byte"
	}
	for _, suffix := range []string{".ko", ".ko.xz", ".ko.zst", ".ko.gz"} {
		if strings.HasSuffix(p, suffix) {
			return ""
		}
	}
	return "path " + strconv.Quote(p[:min(len(p), 64)]) + " is not a module's"
}

// Fault reports whether a kernel command line injects a fault: arcbox.test=
// names several by comma.
func Fault(cmdline, name string) bool {
	for _, word := range strings.Fields(cmdline) {
		value, ok := strings.CutPrefix(word, "arcbox.test=")
		if !ok {
			continue
		}
		for _, one := range strings.Split(value, ",") {
			if one == name {
				return true
			}
		}
	}
	return false
}
