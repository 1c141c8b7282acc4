package kernel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/arcboxlabs/arcbox-engine/guest/files"
)

// Store is a directory of bundles.
type Store struct{ dir string }

// Bundle is a bundle of the store.
type Bundle struct {
	Name string `json:"name"`
	Used bool   `json:"used"` // by machines that name no kernel
	Dir  string `json:"dir"`
	Manifest
}

// Prepared is where the boot assets that were made of the bundle are.
func (b Bundle) Prepared() string { return filepath.Join(b.Dir, preparedName) }

const (
	preparedName = "prepared"
	stagePrefix  = ".stage-"
	goingPrefix  = ".going-"
	lockName     = ".lock"
	usedName     = ".used"
	defaultBoots = ".default-boots.json"
)

// Errors of the store.
var (
	ErrNotFound = errors.New("no such kernel")
	ErrExists   = errors.New("there is another kernel of that name")
)

// InUseError is the answer where a kernel is needed.
type InUseError struct {
	Name  string
	Users []string // machines; none = those that name no kernel
}

func (e *InUseError) Error() string {
	if len(e.Users) == 0 {
		return fmt.Sprintf("kernel %q: machines that name no kernel use it", e.Name)
	}
	return fmt.Sprintf("kernel %q: used by %s", e.Name, strings.Join(e.Users, ", "))
}

// Open is a store of a directory, which is made when something is put in.
func Open(dir string) *Store { return &Store{dir: dir} }

// List is every bundle, by name. What is damaged is in the error, and the others
// are there nevertheless.
func (s *Store) List() ([]Bundle, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("kernels: %w", err)
	}
	all, used := []Bundle{}, s.Used()
	var bad error
	for _, e := range entries {
		if CheckName(e.Name()) != nil || !e.IsDir() {
			continue
		}
		b, err := s.read(e.Name(), used)
		if err != nil {
			bad = errors.Join(bad, err)
			continue
		}
		all = append(all, b)
	}
	return all, bad
}

// Find is a bundle by its name. Its files were checked when it came in.
func (s *Store) Find(name string) (Bundle, error) {
	if err := CheckName(name); err != nil {
		return Bundle{}, err
	}
	return s.read(name, s.Used())
}

func (s *Store) read(name, used string) (Bundle, error) {
	dir := filepath.Join(s.dir, name)
	m, err := readManifest(dir)
	if errors.Is(err, fs.ErrNotExist) {
		err = ErrNotFound
	}
	if err != nil {
		return Bundle{}, fmt.Errorf("kernel %q: %w", name, err)
	}
	return Bundle{Name: name, Used: name == used, Dir: dir, Manifest: m}, nil
}

// Used is the kernel of machines that name none.
func (s *Store) Used() string {
	data, err := files.Read(filepath.Join(s.dir, usedName), 100)
	if name := strings.TrimSpace(string(data)); err == nil && CheckName(name) == nil {
		return name
	}
	return Default
}

// Import copies a bundle into the store, under a name; "" = after its release.
// The same bundle may come again under its name.
func (s *Store) Import(ctx context.Context, from, name string) (b Bundle, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("import kernel %s: %w", from, err)
		}
	}()
	if name != "" {
		if err := CheckName(name); err != nil {
			return Bundle{}, err
		}
	}
	unlock, err := s.lock(ctx)
	if err != nil {
		return Bundle{}, err
	}
	defer unlock()
	s.sweep()
	dir, err := os.MkdirTemp(s.dir, stagePrefix)
	if err != nil {
		return Bundle{}, err
	}
	defer os.RemoveAll(dir)
	m, err := stage(ctx, from, dir)
	if err != nil {
		return Bundle{}, err
	}
	if name == "" {
		name = strings.ToLower(m.Release)
	}
	if err := CheckName(name); err != nil {
		return Bundle{}, err
	}
	if err := s.install(dir, name, m); err != nil {
		return Bundle{}, err
	}
	return s.read(name, s.Used())
}

// install gives a staged bundle its name. Of one that is there already it takes
// the records of boots where it has none.
func (s *Store) install(dir, name string, m Manifest) error {
	to := filepath.Join(s.dir, name)
	old, err := readManifest(to)
	switch {
	case err == nil && old.Digest == m.Digest:
		for _, b := range m.Boots {
			old.Boots = keep(old.Boots, b)
		}
		return writeManifest(to, old)
	case err == nil:
		return fmt.Errorf("kernel %q: %w; name this one with --name, or remove that one", name, ErrExists)
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("kernel %q: %w", name, err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	if err := os.Rename(dir, to); err != nil {
		return err
	}
	return files.SyncDir(s.dir)
}

// Use makes a kernel that of machines that name none.
func (s *Store) Use(ctx context.Context, name string) error {
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if name != Default {
		if _, err := s.Find(name); err != nil {
			return err
		}
	}
	if err := files.Replace(filepath.Join(s.dir, usedName), []byte(name+"\n"), 0o644); err != nil {
		return fmt.Errorf("use kernel: %w", err)
	}
	return nil
}

// Remove removes a bundle that nobody uses; users tells the machines that name
// it.
func (s *Store) Remove(ctx context.Context, name string, users func(name string) ([]string, error)) error {
	if err := CheckName(name); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(s.dir, name)); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("kernel %q: %w", name, ErrNotFound)
	}
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	used, err := users(name)
	if err != nil {
		return err
	}
	if len(used) > 0 || s.Used() == name {
		return &InUseError{name, used}
	}
	// Gone at once, and then in peace.
	going := filepath.Join(s.dir, goingPrefix+name)
	if err := errors.Join(os.RemoveAll(going), os.Rename(filepath.Join(s.dir, name), going)); err != nil {
		return fmt.Errorf("remove kernel: %w", err)
	}
	for _, board := range Boards { // of one that may get its name
		_ = os.Remove(s.progressFile(name, board))
	}
	if err := os.RemoveAll(going); err != nil {
		return fmt.Errorf("remove kernel: %w", err)
	}
	return nil
}

// sweep removes what was killed half-way. The lock is held.
func (s *Store) sweep() {
	_ = files.Sweep(s.dir) // the next one tries again, here and below
	entries, _ := os.ReadDir(s.dir)
	for _, e := range entries {
		dir := filepath.Join(s.dir, e.Name())
		switch {
		case strings.HasPrefix(e.Name(), stagePrefix), strings.HasPrefix(e.Name(), goingPrefix):
			_ = os.RemoveAll(dir)
		case e.IsDir():
			_ = files.Sweep(dir) // of its manifest
		}
	}
}

// DefaultBoots are the records of a release of the distribution's kernel: those made
// here, else what is known of it.
func (s *Store) DefaultBoots(release string) []Boots {
	return knownBoots(release, s.defaultBoots()[release])
}

func (s *Store) defaultBoots() map[string][]Boots {
	all := map[string][]Boots{}
	data, err := files.Read(filepath.Join(s.dir, defaultBoots), maxManifest)
	if err != nil || json.Unmarshal(data, &all) != nil {
		return map[string][]Boots{} // then it is a q35, and may be tried again
	}
	for _, boots := range all {
		if slices.ContainsFunc(boots, func(b Boots) bool { return b.check() != nil }) {
			return map[string][]Boots{}
		}
	}
	return all
}

// Record keeps what boots of a kernel showed: of a bundle by its name, of the
// distribution's by its release.
func (s *Store) Record(ctx context.Context, name, release string, b Boots) error {
	if err := b.check(); err != nil {
		return err
	}
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if name == Default {
		all := s.defaultBoots()
		all[release] = keep(all[release], b)
		data, err := json.MarshalIndent(all, "", "  ")
		if err != nil {
			return err
		}
		if err := files.Replace(filepath.Join(s.dir, defaultBoots), append(data, '\n'), 0o644); err != nil {
			return fmt.Errorf("record boots: %w", err)
		}
		return nil
	}
	old, err := s.Find(name)
	if err != nil {
		return err
	}
	if old.Release != release {
		return fmt.Errorf("kernel %q: %w: it is %s by now, boots of %s were made", name, ErrNotFound, old.Release, release)
	}
	old.Boots = keep(old.Boots, b)
	if err := writeManifest(old.Dir, old.Manifest); err != nil {
		return fmt.Errorf("record boots: %w", err)
	}
	return nil
}

// lock keeps other processes from changing the store, which is made where it is
// missing.
func (s *Store) lock(ctx context.Context) (unlock func(), err error) {
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return nil, fmt.Errorf("kernels: %w", err)
	}
	l, err := files.Take(ctx, filepath.Join(s.dir, lockName), unix.LOCK_EX, nil)
	if err != nil {
		return nil, fmt.Errorf("kernels: %w", err)
	}
	return l.Release, nil
}
