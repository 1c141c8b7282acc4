package kernel

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Pack makes a bundle of a directory that holds boot/vmlinuz-RELEASE and
// lib/modules/RELEASE: it writes the manifest. Links and what else is no file is
// not taken in.
func Pack(dir, arch, source string, made time.Time) (Manifest, error) {
	m := Manifest{Format: format, Arch: arch, Source: source, Made: made.UTC()}
	images, err := fs.Glob(os.DirFS(dir), "boot/vmlinuz-*")
	if err != nil || len(images) != 1 {
		return Manifest{}, fmt.Errorf("kernel tree %s: %w: exactly one boot/vmlinuz-RELEASE is needed, it has %d", dir, ErrNoBundle, len(images))
	}
	m.Release = strings.TrimPrefix(images[0], "boot/vmlinuz-")
	err = filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil || rel == manifestName {
			return err
		}
		f, err := fileOf(dir, filepath.ToSlash(rel))
		m.Files = append(m.Files, f)
		if len(m.Files) > maxFiles {
			return fmt.Errorf("more than %d files", maxFiles)
		}
		if f.Path == "boot/config-"+m.Release {
			m.Config = f.SHA256
		}
		return err
	})
	if err != nil {
		return Manifest{}, fmt.Errorf("kernel tree %s: %w", dir, err)
	}
	m.Digest, m.Modules = digestOf(m.Files), m.modulesDigest()
	m.Boots = knownBoots(m.Config, nil)
	if err := m.check(); err != nil {
		return Manifest{}, fmt.Errorf("kernel tree %s: %w", dir, err)
	}
	if err := writeManifest(dir, m); err != nil {
		return Manifest{}, fmt.Errorf("kernel tree %s: %w", dir, err)
	}
	return m, nil
}

func fileOf(dir, rel string) (File, error) {
	f, err := os.Open(filepath.Join(dir, filepath.FromSlash(rel)))
	if err != nil {
		return File{}, err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	return File{rel, n, hex.EncodeToString(h.Sum(nil))}, err
}

// verify checks that the files of a bundle are there and as its manifest says.
func verify(dir string, m Manifest) error {
	for _, want := range m.Files {
		got, err := fileOf(dir, want.Path)
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s: %w: it is missing", want.Path, ErrDamaged)
		}
		if err != nil {
			return err
		}
		if got != want {
			return fmt.Errorf("%s: %w: %d bytes of %s, not %d of %s", want.Path, ErrDamaged, got.Size, got.SHA256[:12], want.Size, want.SHA256[:12])
		}
	}
	return nil
}
