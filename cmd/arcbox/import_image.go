package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/arcboxlabs/arcbox-engine/guest/archive"
	"github.com/arcboxlabs/arcbox-engine/guest/image"
)

// importedImage is the image of an archive on its way into the store; nil where it
// is here already, or the machine has none.
type importedImage struct {
	a     *app
	store *image.Store
	stage *image.Stage
	file  *os.File
	of    archive.Image
	name  string // in the store: never the archive's, which would stand for another's image
	kept  bool
}

const stagedImage = "image.erofs"

// image finds what the machine's image is, or makes place for the one that comes
// along.
func (x *importing) image(ctx context.Context, m archive.Manifest) (*importedImage, error) {
	if m.Image == nil || x.a.isFar() { // the engine there says whether it has it
		return nil, nil
	}
	s, err := x.a.images()
	if err != nil {
		return nil, err
	}
	_, err = s.Find(m.Image.Digest)
	switch {
	case err == nil:
		return nil, nil
	case !errors.Is(err, image.ErrNotFound):
		return nil, imageFailure(err)
	case !m.Image.Included:
		return nil, noSuchImage(*m.Image)
	}
	sum := strings.TrimPrefix(m.Image.Digest, "sha256:")
	stage, err := s.Stage(ctx, sum, nil)
	if err != nil {
		return nil, imageFailure(err)
	}
	f, err := os.OpenFile(stage.File(stagedImage), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o400)
	if err != nil {
		stage.Close()
		return nil, fmt.Errorf("import: %w", err)
	}
	return &importedImage{a: x.a, store: s, stage: stage, file: f, of: *m.Image, name: "imported-" + sum[:12]}, nil
}

// noSuchImage says how the image gets here.
func noSuchImage(i archive.Image) error {
	f := &failure{code: exitNotFound, kind: "not-found", field: "image"}
	what := i.Name
	if i.Distribution != "" {
		what += fmt.Sprintf(" (%s %s)", i.Distribution, i.Version)
	}
	f.message = fmt.Sprintf("image %s is not here, and not in the archive: the disk goes with %s alone", shorten(what, 120), i.Digest)
	f.hint = "arcbox image pull " + i.Name + " (if that still has this digest)\narcbox export NAME FILE --with-image, where the machine is"
	return f
}

func (i *importedImage) writer() io.Writer {
	if i == nil {
		return nil
	}
	return i.file
}

// commit adds the image, which was checked, to the store.
func (i *importedImage) commit(ctx context.Context) error {
	if i == nil {
		return nil
	}
	if err := errors.Join(i.file.Sync(), i.file.Close()); err != nil {
		return fmt.Errorf("import: %w", err)
	}
	_, err := i.store.Commit(ctx, i.stage.File(stagedImage), i.name, image.Manifest{
		Digest: i.of.Digest, Size: i.of.Size, Files: i.of.Files, Created: i.a.now().UTC(),
		Origin: image.Origin{
			Kind: image.Tarball, Reference: shorten(i.of.Source, 200), Distribution: shorten(i.of.Distribution, 80),
			Version: shorten(i.of.Version, 80), Architecture: shorten(i.of.Architecture, 40),
		},
	})
	i.kept = err == nil
	return imageFailure(err)
}

// takeBack removes what was added for a machine that was not to be.
func (i *importedImage) takeBack() {
	if i == nil || !i.kept {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), askTime)
	defer cancel()
	if _, err := i.store.Remove(ctx, i.name, i.a.imageUsers(ctx)); err != nil {
		i.a.note("the image %s stays: %v", i.name, err)
	}
}

func (i *importedImage) close() {
	if i != nil {
		_ = i.file.Close() // a second time is harmless
		i.stage.Close()
	}
}
