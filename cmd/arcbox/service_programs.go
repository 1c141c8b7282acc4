package main

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// ownPath is where this command lies, by the name it was called by: a link that
// an upgrade moves on is to be followed then, not now.
func ownPath() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("where arcbox lies: %w", err)
	}
	called, err := exec.LookPath(os.Args[0])
	if err != nil {
		return self, nil
	}
	if called, err = filepath.Abs(called); err != nil {
		return self, nil
	}
	if !sameFile(called, self) {
		return self, nil
	}
	return called, nil
}

// beside is the engine by its name beside this command's, where that leads to the
// same file: it, too, may be a link that an upgrade moves on.
func beside(cli, engine string) string {
	if linked := filepath.Join(filepath.Dir(cli), engineName); sameFile(linked, engine) {
		return linked
	}
	return engine
}

func sameFile(a, b string) bool {
	one, errOne := os.Stat(a)
	other, errOther := os.Stat(b)
	return errOne == nil && errOther == nil && os.SameFile(one, other)
}

// rootsOwn refuses programs that somebody else than root can replace: the files,
// the links that lead to them, and the directories above.
func rootsOwn(paths ...string) error {
	for _, path := range paths {
		way, err := wayTo(path)
		if err != nil {
			return fmt.Errorf("look at %s: %w", path, err)
		}
		real := way[len(way)-1]
		for _, p := range way {
			if err := rootsAlone(p, filepath.Dir(real)); err != nil {
				return err
			}
		}
	}
	return nil
}

// wayTo is a path, what each link leads to, and the file at its end.
func wayTo(path string) ([]string, error) {
	real, err := filepath.EvalSymlinks(path) // and no loop
	if err != nil {
		return nil, err
	}
	way := []string{path}
	for {
		target, err := os.Readlink(path)
		if err != nil { // no link
			return append(way, real), nil
		}
		if !filepath.IsAbs(target) {
			dir, err := filepath.EvalSymlinks(filepath.Dir(path))
			if err != nil {
				return nil, err
			}
			target = filepath.Join(dir, target)
		}
		path = target
		way = append(way, path)
	}
}

// rootsAlone looks at a file and at all directories above it.
func rootsAlone(path, real string) error {
	for p := path; ; p = filepath.Dir(p) {
		info, err := os.Lstat(p)
		if err != nil {
			return fmt.Errorf("look at %s: %w", p, err)
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		mode := info.Mode()
		// Others can't replace what is root's in a directory like /tmp; a link has no mode.
		shared := mode.Perm()&0o022 != 0 && mode&fs.ModeSymlink == 0 && mode&(fs.ModeDir|fs.ModeSticky) != fs.ModeDir|fs.ModeSticky
		if !ok || st.Uid != 0 || shared {
			return &failure{
				code: exitUnsafe, kind: "unsafe", hint: "sudo install -m 755 " + real + "/arcbox* /usr/local/bin/, and /usr/local/bin/arcbox engine install --system",
				message: fmt.Sprintf("%s can be changed by others than root (%v), and root would run %s at each boot", p, mode, path),
			}
		}
		if p == filepath.Dir(p) {
			return nil
		}
	}
}
