package kernel

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/arcboxlabs/arcbox-engine/guest/files"
)

// Default is the name of the kernel of the distribution's packages.
const Default = "default"

// File is one file of a bundle.
type File struct {
	Path   string `json:"path"` // within the bundle, with slashes
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// Manifest is what a bundle says of itself.
type Manifest struct {
	Format  int    `json:"format"`
	Arch    string `json:"arch"` // as Go names it
	Release string `json:"release"`
	// Source names what it was built of, and Config the digest of its
	// configuration; "" where nobody said.
	Source string    `json:"source,omitempty"`
	Config string    `json:"config,omitempty"`
	Made   time.Time `json:"made"`
	Digest string    `json:"digest"` // of all its files
	// Modules is the digest of those among them that are modules or tell of them;
	// "" in a bundle that was packed before it had one.
	Modules string  `json:"modules,omitempty"`
	Files   []File  `json:"files"`
	Boots   []Boots `json:"boots,omitempty"`
}

// Bounds of a bundle: a distribution's kernel with all its modules has 5,000
// files and 500 MB.
const (
	format       = 1
	maxManifest  = 8 << 20
	maxFiles     = 20000
	maxSize      = 2 << 30
	maxBoots     = 64
	manifestName = "manifest.json"
)

// Errors of a bundle and of its name.
var (
	ErrNoBundle = errors.New("no kernel bundle")
	ErrDamaged  = errors.New("not what its manifest says")
	ErrName     = errors.New("a name is 1 to 64 lower-case letters, digits, dots, hyphens and underscores, and begins with a letter or digit")
)

var (
	bundleName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)
	release    = regexp.MustCompile(`^[0-9][0-9A-Za-z.+~_-]{0,63}$`)
	hexDigest  = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// CheckName refuses what is no name for a bundle.
func CheckName(name string) error {
	if !bundleName.MatchString(name) || name == Default {
		return fmt.Errorf("kernel %q: %w, and is not %q", clip(name), ErrName, Default)
	}
	return nil
}

// readManifest reads and checks the manifest of the bundle in dir. Its files are
// not looked at.
func readManifest(dir string) (Manifest, error) {
	data, err := files.Read(filepath.Join(dir, manifestName), maxManifest)
	if err != nil {
		return Manifest{}, err
	}
	var m Manifest
	if err := json.Unmarshal(data, &m); err != nil {
		return Manifest{}, fmt.Errorf("%s: %w: %w", manifestName, ErrNoBundle, err)
	}
	return m, m.check()
}

func (m Manifest) check() error {
	says := func(text string, args ...any) error {
		return fmt.Errorf("%s: %w: %s", manifestName, ErrNoBundle, fmt.Sprintf(text, args...))
	}
	switch {
	case m.Format != format:
		return says("format %d, this build reads %d", m.Format, format)
	case m.Arch != "amd64" && m.Arch != "arm64":
		return says("architecture %q, amd64 and arm64 are known", clip(m.Arch))
	case !release.MatchString(m.Release):
		return says("release %q", clip(m.Release))
	case len(m.Files) == 0 || len(m.Files) > maxFiles:
		return says("%d files, 1 to %d are allowed", len(m.Files), maxFiles)
	case len(m.Boots) > maxBoots:
		return says("%d records of boots, at most %d", len(m.Boots), maxBoots)
	case !hexDigest.MatchString(m.Digest) || m.Digest != digestOf(m.Files):
		return says("its digest is not that of the list of its files")
	case m.Modules != "" && m.Modules != m.modulesDigest():
		return says("the digest of its modules is not that of the list of its files")
	case !slices.ContainsFunc(m.Files, func(f File) bool { return f.Path == m.image() }):
		return says("it lists no %s", m.image())
	}
	var sum int64
	seen := map[string]bool{}
	for _, f := range m.Files {
		if !filepath.IsLocal(f.Path) || path.Clean(f.Path) != f.Path || f.Path == manifestName || seen[f.Path] {
			return says("file %q: a name within the bundle, once", clip(f.Path))
		}
		if f.Size < 0 || f.Size > maxSize || sum+f.Size > maxSize || !hexDigest.MatchString(f.SHA256) {
			return says("file %q: %d bytes, digest %q", clip(f.Path), f.Size, clip(f.SHA256))
		}
		seen[f.Path] = true
		sum += f.Size
	}
	return m.checkBoots()
}

func (m Manifest) image() string { return "boot/vmlinuz-" + m.Release }

// modulesDigest is a digest over the files of its modules directory.
func (m Manifest) modulesDigest() string {
	return digestOf(slices.DeleteFunc(slices.Clone(m.Files), func(f File) bool {
		return !strings.HasPrefix(strings.TrimPrefix(f.Path, "usr/"), "lib/modules/"+m.Release+"/")
	}))
}

// Size is how many bytes the bundle's files have.
func (m Manifest) Size() (n int64) {
	for _, f := range m.Files {
		n += f.Size
	}
	return n
}

// digestOf is a digest over the names and the digests of files.
func digestOf(files []File) string {
	lines := make([]string, 0, len(files))
	for _, f := range files {
		lines = append(lines, fmt.Sprintf("%s %d %s\n", f.SHA256, f.Size, f.Path))
	}
	slices.Sort(lines)
	sum := sha256.Sum256([]byte(strings.Join(lines, "")))
	return hex.EncodeToString(sum[:])
}

// writeManifest writes it anew, whole or not at all.
func writeManifest(dir string, m Manifest) error {
	data, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	return files.Replace(filepath.Join(dir, manifestName), append(data, '\n'), 0o644)
}

func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}
