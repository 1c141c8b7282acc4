package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/guest/image"
	"github.com/arcboxlabs/arcbox-engine/guest/image/pull"
)

// The size of a data disk.
const (
	defaultDisk = 50 << 30
	minDisk     = 256 * mib // a guest can grow Btrfs to no less
	maxDisk     = 8 << 40
)

// imageFlags say which image a machine has, and how large its own disk is.
type imageFlags struct {
	image, server string
	disk          sizeValue
}

func (f *imageFlags) add(a *app, cmd *cobra.Command) {
	f.disk = defaultDisk
	cmd.Flags().StringVar(&f.image, "image", "", "image to boot, pulled where it is not here (see arcbox help image)")
	cmd.Flags().Var(&f.disk, "disk", "size of the machine's own disk; it takes only what is written to it")
	addServer(a, cmd, &f.server)
	if err := cmd.RegisterFlagCompletionFunc("image", a.completeImages(manyNames)); err != nil {
		panic(err) // a flag that is not there
	}
}

// check checks the flags without looking at the store.
func (f *imageFlags) check(cmd *cobra.Command) error {
	switch {
	case f.image == "" && cmd.Flags().Changed("image"):
		return badInput("image", "--image: the reference of an image is missing")
	case f.image == "" && cmd.Flags().Changed("disk"):
		return badInput("disk", "--disk: only with --image: what has no image has no disk")
	}
	return checkDisk(f.disk)
}

// into says in the spec which image it is to be. What is not here is pulled.
func (f *imageFlags) into(ctx context.Context, a *app, spec *wire.Spec) error {
	if f.image == "" {
		return nil
	}
	find, arch := f.find, cmp.Or(spec.GetArch(), runtime.GOARCH)
	if a.isFar() { // whose architecture is not known here
		find, arch = f.findThere, spec.GetArch()
	}
	i, err := find(ctx, a, spec.GetArch())
	if err != nil {
		return err
	}
	if i.Origin.Architecture != "" && arch != "" && i.Origin.Architecture != arch {
		wrong := badInput("image", "image %q: it is for %s, the machine is %s", shorten(f.image, 80), i.Origin.Architecture, arch)
		wrong.hint = "arcbox create --arch " + i.Origin.Architecture + " --image " + f.image
		if i.Origin.Kind != image.Tarball {
			wrong.hint += "\narcbox image pull --arch " + arch + " " + f.image
		}
		return wrong
	}
	spec.Image, spec.ImageName, spec.Disk = i.Digest, f.image, int64(f.disk)
	return nil
}

// find is the image, which is pulled where it is not here.
func (f *imageFlags) find(ctx context.Context, a *app, arch string) (image.Image, error) {
	s, err := a.images()
	if err != nil {
		return image.Image{}, err
	}
	i, err := s.Find(f.image)
	if errors.Is(err, image.ErrNotFound) {
		var ref image.Ref
		if ref, err = image.Parse(f.image); err == nil {
			i, err = a.bringImage(ctx, s, ref, pull.Options{Index: f.server, Architecture: arch})
		}
	}
	return i, imageFailure(err)
}

// wholeDigest is an image's in full: an engine looks that up by itself.
var wholeDigest = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// findThere is the same on the engine's host, by its arcbox.
func (f *imageFlags) findThere(ctx context.Context, a *app, arch string) (image.Image, error) {
	if wholeDigest.MatchString(f.image) {
		return image.Image{Manifest: image.Manifest{Digest: f.image}}, nil
	}
	if err := a.imageHere(f.image); err != nil {
		return image.Image{}, err
	}
	data, err := a.answerThere(ctx, io.Discard, maxImageJSON, "--format=json", "image", "inspect", "--", f.image)
	if exit, ok := errors.AsType[*failure](err); ok && exit.code == exitNotFound {
		a.note("%s is not there yet: it is pulled", shorten(printable(f.image), 80))
		words := []string{"--format=json", "image", "pull"}
		if arch != "" {
			words = append(words, "--arch="+arch)
		}
		data, err = a.answerThere(ctx, a.stderr, maxImageJSON, append(words, "--server="+f.server, "--", f.image)...)
	}
	var i image.Image
	if err == nil {
		err = json.Unmarshal(data, &i)
	}
	if err == nil && i.Digest == "" {
		err = fmt.Errorf("image %s: what arcbox there says has no digest", shorten(printable(f.image), 80))
	}
	return i, err
}

// maxImageJSON bounds what is said of an image.
const maxImageJSON = 2 << 20

// create asks for a machine. Its image can't be removed meanwhile: the engine
// looks it up, and does not wait for whoever changes the images.
func (a *app) create(ctx context.Context, e engine, name string, spec *wire.Spec) (*wire.Done, error) {
	return a.createWith(ctx, e, &wire.CreateMachine{Request: request(), Name: name, Spec: spec})
}

func (a *app) createWith(ctx context.Context, e engine, msg *wire.CreateMachine) (*wire.Done, error) {
	if msg.GetSpec().GetImage() != "" && !a.isFar() {
		s, err := a.images()
		if err != nil {
			return nil, err
		}
		release, err := s.Hold(ctx)
		if err != nil {
			return nil, err
		}
		defer release()
	}
	return command(ctx, e, msg)
}

// imageUsers tells which machines use an image.
func (a *app) imageUsers(ctx context.Context) image.Users {
	return func(digest string) ([]string, error) {
		return a.machinesWith(ctx, func(s *wire.Spec) bool { return s.GetImage() == digest })
	}
}
