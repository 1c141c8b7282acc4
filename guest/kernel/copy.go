package kernel

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/arcboxlabs/arcbox-engine/guest/files"
	"github.com/arcboxlabs/arcbox-engine/guest/packed"
)

// stage copies a bundle, from a directory or a tar, into dir, and checks it.
func stage(ctx context.Context, from, dir string) (Manifest, error) {
	info, err := os.Stat(from)
	if err != nil {
		return Manifest{}, err
	}
	if info.IsDir() {
		err = copyTree(ctx, from, dir)
	} else {
		err = unpack(ctx, from, dir)
	}
	if err != nil {
		return Manifest{}, err
	}
	m, err := readManifest(dir)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: it has no %s", ErrNoBundle, manifestName)
	}
	if err != nil {
		return Manifest{}, err
	}
	return m, verify(dir, m)
}

// copyTree copies the files that the manifest of a directory lists.
func copyTree(ctx context.Context, from, dir string) (err error) {
	m, err := readManifest(from)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: it has no %s", ErrNoBundle, manifestName)
	}
	if err != nil {
		return err
	}
	// No link within leads out of the bundle.
	root, err := os.OpenRoot(from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	for _, f := range m.Files {
		if err := ctx.Err(); err != nil {
			return err
		}
		in, err := files.OpenIn(root, filepath.FromSlash(f.Path))
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s: %w: it is missing", f.Path, ErrDamaged)
		}
		if errors.Is(err, files.ErrKind) {
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		if err != nil {
			return err
		}
		err = write(dir, f.Path, io.LimitReader(in, f.Size+1))
		if err := errors.Join(err, in.Close()); err != nil {
			return err
		}
	}
	return writeManifest(dir, m)
}

// unpack unpacks the regular files of a tar.
func unpack(ctx context.Context, from, dir string) error {
	f, err := files.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	plain, done, err := packed.Open(f)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoBundle, err)
	}
	defer done()
	files, left := 0, int64(maxSize+maxManifest)
	for in := tar.NewReader(plain); ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrNoBundle, err)
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		name := path.Clean(h.Name)
		if files++; files > maxFiles+1 || h.Size > left || !filepath.IsLocal(name) {
			return fmt.Errorf("%w: %q: at most %d files and %d bytes, each within the bundle", ErrNoBundle, clip(h.Name), maxFiles, int64(maxSize))
		}
		left -= h.Size
		err = write(dir, name, in)
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = fmt.Errorf("%w: %w", ErrNoBundle, err)
		}
		if err != nil {
			return err
		}
	}
}

// write writes one file of a bundle, synced.
func write(dir, rel string, in io.Reader) error {
	name := filepath.Join(dir, filepath.FromSlash(rel))
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	out, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err == nil {
		err = out.Sync()
	}
	return errors.Join(err, out.Close())
}
