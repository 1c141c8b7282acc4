package agent

import (
	"fmt"
	"path"
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
		if len(paths) == maxModules {
			return paths, fmt.Errorf("line %d: more than %d modules", i+1, maxModules)
		}
		if !path.IsAbs(line) {
			line = path.Join(moduleDir, line)
		}
		if err := checkModule(line); err != nil {
			if bad == nil {
				bad = fmt.Errorf("line %d: %w", i+1, err)
			}
			continue
		}
		paths = append(paths, line)
	}
	return paths, bad
}

func checkModule(p string) error {
	if len(p) > maxModulePath {
		return fmt.Errorf("path of %d bytes, at most %d", len(p), maxModulePath)
	}
	if strings.ContainsRune(p, 0) {
		return fmt.Errorf("path %.64q has a NUL byte", p)
	}
	for _, suffix := range []string{".ko", ".ko.xz", ".ko.zst", ".ko.gz"} {
		if strings.HasSuffix(p, suffix) {
			return nil
		}
	}
	return fmt.Errorf("path %.64q is not a module's", p)
}
