package tree

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Target is where a copy goes.
type Target struct {
	Path string
	// Name is what the copy is called where Path is a directory; "." = its
	// contents are put there, "" = a directory at Path is refused.
	Name string
	Into bool // Path must be a directory
	// Links keeps links that lead out of the copy.
	Links bool
	Owner *Owner // nil = whoever writes
}

// Owner is whose the copy is.
type Owner struct{ UID, GID int }

// place finds the directory to write in, and the name there; "." = that
// directory itself.
func (to Target) place(tree bool) (dir, name string, err error) {
	info, err := os.Stat(to.Path)
	switch {
	case err == nil && info.IsDir():
		if to.Name == "" {
			return "", "", fmt.Errorf("%s is a directory: a name is needed", to.Path)
		}
		if to.Name != "." && !goodName(to.Name) {
			return "", "", fmt.Errorf("name %.64q: want one component of a path", to.Name)
		}
		return to.Path, to.Name, nil
	case err == nil && (to.Into || tree):
		return "", "", fmt.Errorf("%s is not a directory", to.Path)
	case err == nil && !info.Mode().IsRegular():
		return "", "", fmt.Errorf("%s is neither a file nor a directory", to.Path)
	case err == nil:
		full, err := filepath.EvalSymlinks(to.Path) // a link is written through
		if err != nil {
			return "", "", err
		}
		return filepath.Dir(full), filepath.Base(full), nil
	case !errors.Is(err, fs.ErrNotExist):
		return "", "", err
	case to.Into || !tree && strings.HasSuffix(to.Path, "/"):
		return "", "", fmt.Errorf("%s: no such directory", to.Path)
	}
	full := filepath.Clean(to.Path)
	if name = filepath.Base(full); !goodName(name) {
		return "", "", fmt.Errorf("%s: no such directory", to.Path)
	}
	return filepath.Dir(full), name, nil
}

func goodName(name string) bool {
	return name != "" && name != "." && name != ".." && len(name) <= maxName && !strings.ContainsAny(name, "/\x00")
}
