package boot

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sort"
	"strings"
	"time"

	"github.com/arcboxlabs/arcbox-engine/guest/files"
)

// layout is the version of the directory and of what goes into the initramfs.
// It is part of the digest: raise it when either changes.
const layout = 4

const manifestName = "manifest.json"

// Assets are the files that a machine boots from, and where they came from.
type Assets struct {
	Layout  int      `json:"layout"`
	Digest  string   `json:"digest"`  // of everything that went in, hexadecimal
	Release string   `json:"release"` // of the kernel
	Kernel  string   `json:"kernel"`  // absolute, but relative in the file
	Initrd  string   `json:"initrd"`  // likewise
	Root    string   `json:"root"`    // likewise: what the initramfs of a machine with an image has beyond
	Share   string   `json:"share"`   // likewise: what that of a machine with shares has beyond
	Tree    string   `json:"tree"`    // likewise: an EROFS of all modules, for /lib/modules/RELEASE
	Vmlinux bool     `json:"vmlinux"` // Kernel is an ELF with a PVH entry
	Modules []string `json:"modules"` // in load order
	Missing []string `json:"missing,omitempty"`
	Agent   string   `json:"agent,omitempty"` // the name of its build (package guest/buildid); "" = unknown

	KernelBytes int64 `json:"kernel_bytes"`
	InitrdBytes int64 `json:"initrd_bytes"`
	RootBytes   int64 `json:"root_bytes"`
	ShareBytes  int64 `json:"share_bytes"`
	TreeBytes   int64 `json:"tree_bytes"`

	TreeDigest string `json:"tree_digest"` // of the modules that went in
}

// ErrNotPrepared is returned by Find where there is nothing to boot from.
var ErrNotPrepared = errors.New("no kernel and initramfs are prepared")

// UserDir is where `arcbox-engine prepare` puts assets that every engine of
// this user finds.
func UserDir() (string, error) { return userCache("boot") }

// KernelDir is where fetched kernel packages are unpacked.
func KernelDir() (string, error) { return userCache("kernel") }

func userCache(name string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("boot assets: which directory: %w", err)
	}
	return filepath.Join(cache, "arcbox", name), nil
}

// Find returns the newest assets for an architecture of the first directory that
// has any. An engine looks in its own directory first, then in its user's (package
// cmd/internal/home).
func Find(arch string, dirs ...string) (Assets, error) {
	if err := checkArch(arch); err != nil {
		return Assets{}, err
	}
	var faults []string
	for _, dir := range dirs {
		dir = archDir(dir, arch)
		found, damaged := scan(dir)
		if len(found) > 0 {
			return found[0].Assets, nil
		}
		faults = append(faults, damaged...)
	}
	also := ""
	if len(faults) > 0 {
		also = " (unusable: " + strings.Join(faults, "; ") + ")"
	}
	if arch != runtime.GOARCH {
		return Assets{}, fmt.Errorf("%w for %s in %s%s: run `./task assets-%s` in a checkout, or `arcbox-engine prepare --arch %s`",
			ErrNotPrepared, arch, strings.Join(dirs, ", "), also, arch, arch)
	}
	return Assets{}, fmt.Errorf("%w in %s%s: run `./task up` in a checkout, or `arcbox-engine prepare`",
		ErrNotPrepared, strings.Join(dirs, ", "), also)
}

// entry is one directory of assets and when it was last asked for.
type entry struct {
	Assets
	dir  string
	used time.Time
}

// scan lists the assets below dir, newest first, and what is wrong with others.
func scan(dir string) (found []entry, damaged []string) {
	manifests, err := fs.Glob(os.DirFS(dir), "*/"+manifestName)
	if err != nil {
		return nil, []string{err.Error()}
	}
	for _, m := range manifests {
		if strings.HasPrefix(m, ".") {
			continue // being made
		}
		m = filepath.Join(dir, m)
		fi, err := os.Stat(m)
		if err == nil {
			var a Assets
			if a, err = readAssets(filepath.Dir(m)); err == nil {
				found = append(found, entry{a, filepath.Dir(m), fi.ModTime()})
				continue
			}
		}
		damaged = append(damaged, err.Error())
	}
	sort.Slice(found, func(i, j int) bool { return found[i].used.After(found[j].used) })
	return found, damaged
}

// readAssets reads a manifest and checks that its files are there and whole.
func readAssets(dir string) (Assets, error) {
	const maxManifest = 1 << 20
	name := filepath.Join(dir, manifestName)
	data, err := files.Read(name, maxManifest)
	if err != nil {
		return Assets{}, fmt.Errorf("boot assets: %w", err)
	}
	var a Assets
	if err := json.Unmarshal(data, &a); err != nil {
		return Assets{}, fmt.Errorf("boot assets: %s: %w", name, err)
	}
	if a.Layout != layout {
		return Assets{}, fmt.Errorf("boot assets: %s: layout %d, this build reads %d", name, a.Layout, layout)
	}
	for _, f := range []struct {
		path *string
		size int64
	}{{&a.Kernel, a.KernelBytes}, {&a.Initrd, a.InitrdBytes}, {&a.Root, a.RootBytes}, {&a.Share, a.ShareBytes}, {&a.Tree, a.TreeBytes}} {
		if !filepath.IsLocal(*f.path) {
			return Assets{}, fmt.Errorf("boot assets: %s: file %q, a name within the directory is allowed", name, *f.path)
		}
		*f.path = filepath.Join(dir, *f.path)
		fi, err := os.Stat(*f.path)
		if err != nil {
			return Assets{}, fmt.Errorf("boot assets: %w", err)
		}
		if fi.Size() != f.size {
			return Assets{}, fmt.Errorf("boot assets: %s: %d bytes, the manifest says %d", *f.path, fi.Size(), f.size)
		}
	}
	return a, nil
}
