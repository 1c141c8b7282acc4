package rootfs

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/arcboxlabs/arcbox-engine/guest/image/erofs"
)

// Result is what became of the archives.
type Result struct {
	erofs.Stats
	Release map[string]string // what the root file system's os-release says
}

// FromTar writes the EROFS of one root file system to an empty out, in one
// pass. A tar with whiteouts has files of these names.
func FromTar(ctx context.Context, out io.WriterAt, limits Limits, layer Layer) (Result, error) {
	w, t := erofs.NewWriter(out), newTree()
	err := layer.read(ctx, func(_ int, h *tar.Header, data io.Reader) error {
		if err := limits.count(h); err != nil {
			return err
		}
		n, err := t.apply(h)
		if err != nil || n == nil {
			return err
		}
		return t.data(w, n, h, data)
	})
	if err != nil {
		return Result{}, err
	}
	return finish(w, t)
}

// FromLayers writes the EROFS of a container image, the lowest layer first.
func FromLayers(ctx context.Context, out io.WriterAt, limits Limits, layers []Layer) (Result, error) {
	t := newTree()
	files := make([]map[int]*erofs.Inode, len(layers)) // by entry: what its data is for
	for i, layer := range layers {
		files[i], t.fresh = map[int]*erofs.Inode{}, map[place]bool{}
		err := layer.read(ctx, func(entry int, h *tar.Header, _ io.Reader) error {
			if err := limits.count(h); err != nil {
				return err
			}
			n, err := t.apply(h)
			if n != nil && h.Size > 0 {
				files[i][entry] = n
			}
			return err
		})
		if err != nil {
			return Result{}, layerError(i, err)
		}
	}
	w := erofs.NewWriter(out)
	left := t.inodes()
	for i, layer := range layers {
		err := layer.read(ctx, func(entry int, h *tar.Header, data io.Reader) error {
			n := files[i][entry]
			if n == nil || !left[n] {
				return nil
			}
			delete(files[i], entry)
			return t.data(w, n, h, data)
		})
		if err != nil {
			return Result{}, layerError(i, err)
		}
		for _, n := range files[i] {
			if left[n] {
				return Result{}, layerError(i, errors.New("it is not what it was at the first reading"))
			}
		}
	}
	return finish(w, t)
}

func layerError(i int, err error) error { return fmt.Errorf("layer %d: %w", i+1, err) }

func finish(w *erofs.Writer, t *tree) (Result, error) {
	if len(t.root.Entries) == 0 {
		return Result{}, ErrEmpty
	}
	st, err := w.Close(t.root)
	return Result{Stats: st, Release: t.osRelease()}, err
}

// inodes are those that have a name.
func (t *tree) inodes() map[*erofs.Inode]bool {
	found := map[*erofs.Inode]bool{}
	todo := []*erofs.Inode{t.root}
	for len(todo) > 0 {
		n := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if found[n] {
			continue
		}
		found[n] = true
		for _, c := range n.Entries {
			todo = append(todo, c)
		}
	}
	return found
}
