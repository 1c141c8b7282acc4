package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/arcboxlabs/arcbox-engine/guest/image"
	"github.com/arcboxlabs/arcbox-engine/guest/image/pull"
	"github.com/arcboxlabs/arcbox-engine/guest/image/rootfs"
)

// serverVar is the environment variable with the index of machine images.
const serverVar = "ARCBOX_IMAGE_SERVER"

func newImage(a *app) *cobra.Command {
	cmd := group(&cobra.Command{
		Use:   "image",
		Short: "Pull, import and remove the images of machines",
		Long: "An image is a root file system that machines share and that never changes. It is\n" +
			"kept once, by the digest of what it holds. A reference to one is\n\n" +
			"  debian:12, ubuntu:24.04, alpine      a machine image, with an init of its own\n" +
			"  docker.io/library/alpine, oci:NAME   an image of a container registry\n" +
			"  ./rootfs.tar.xz, https://…           an archive of a root file system\n\n" +
			"Images are files of yours: only to remove one, the engine is asked who uses it.",
		Example: "  arcbox image pull debian:12\n  arcbox image import ./rootfs.tar.xz --name base\n  arcbox image ls",
	})
	cmd.AddCommand(newImagePull(a), newImageImport(a), newImageList(a), newImageInspect(a), newImageRemove(a), newImagePrune(a))
	return cmd
}

// images opens the store.
func (a *app) images() (*image.Store, error) {
	h, err := a.home()
	if err != nil {
		return nil, err
	}
	return image.Open(h.Images())
}

// imageVerb makes a run function of f, whose errors become ours.
func (a *app) imageVerb(f func(ctx context.Context, s *image.Store, args []string) error) func(*cobra.Command, []string) error {
	return a.verb(func(ctx context.Context, cmd *cobra.Command, args []string) error {
		if far, err := a.there(ctx, cmd, args, nil); far {
			return err
		}
		s, err := a.images()
		if err != nil {
			return err
		}
		return imageFailure(f(ctx, s, args))
	})
}

// imageFailure gives the errors of the store their codes.
func imageFailure(err error) error {
	f := &failure{code: exitGeneral, kind: "failed", cause: err}
	inUse, used := errors.AsType[*image.InUseError](err)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, image.ErrNotFound):
		f.code, f.kind, f.hint = exitNotFound, "not-found", "arcbox image ls"
	case errors.Is(err, pull.ErrUnknown):
		f.code, f.kind = exitNotFound, "not-found"
	case errors.Is(err, image.ErrReference), errors.Is(err, pull.ErrPlain):
		f.code, f.kind, f.hint = exitUsage, "usage", "arcbox help image"
	case used:
		f.code, f.kind, f.hint = exitConflict, "conflict", "arcbox rm "+inUse.Users[0]
	case errors.Is(err, pull.ErrStalled):
		f.code, f.kind = exitTimeout, "timeout"
	case errors.Is(err, pull.ErrDigest), errors.Is(err, rootfs.ErrOutside):
		f.code, f.kind = exitUnsafe, "unsafe"
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, pull.ErrSpace):
		f.hint = "arcbox image prune"
	default:
		return err
	}
	f.message = err.Error()
	return f
}

// completeImages offers the names of images, to most arguments.
func (a *app) completeImages(most int) completer {
	return func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		s, err := a.images()
		if err != nil || len(args) >= most {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		list, _ := s.List() // what can't be read can't be offered
		var names []string
		for _, i := range list {
			for _, name := range i.Names {
				names = append(names, name+"\t"+imageText(i))
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// imageArgs wants from least to most references.
func imageArgs(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return badInput("image", "%s: the reference of an image is missing", cmd.CommandPath())
		case len(args) > most:
			return badInput("", "%s: %d arguments, at most %d", cmd.CommandPath(), len(args), most)
		}
		return nil
	}
}

// imageText is what an image is, in a few words.
func imageText(i image.Image) string {
	what := i.Origin.Distribution
	if what == "" {
		what = "unknown"
	}
	if i.Origin.Version != "" {
		what += " " + i.Origin.Version
	}
	return fmt.Sprintf("%s, %s, %s", what, i.Origin.Architecture, roundSize(i.Size))
}
