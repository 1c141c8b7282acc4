package hosts

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/arcboxlabs/arcbox-engine/actors"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/fsm"
	"github.com/arcboxlabs/arcbox-engine/guest/disk"
	"github.com/arcboxlabs/arcbox-engine/guest/image"
	guestwire "github.com/arcboxlabs/arcbox-engine/guest/wire"
	"github.com/arcboxlabs/arcbox-engine/hv"
)

// HoldImage makes sure that an image is there, and keeps it until release is
// called. See actors.Options.
func (w *World) HoldImage(digest string) (release func(), err error) {
	if w.Images == nil {
		return nil, noImage(digest, image.ErrNotFound)
	}
	release, err = w.Images.TryHold()
	if errors.Is(err, image.ErrBusy) {
		return nil, &actors.Refusal{Code: wire.Code_CODE_CONFLICT, Field: "image", Hint: "arcbox image ls", Message: err.Error() + ": try again"}
	}
	if err != nil {
		return nil, err
	}
	if _, err := w.find(digest); err != nil {
		release()
		return nil, err
	}
	return release, nil
}

func (w *World) find(digest string) (image.Image, error) {
	if w.Images == nil {
		return image.Image{}, noImage(digest, image.ErrNotFound)
	}
	i, err := w.Images.Find(digest)
	if err != nil {
		return image.Image{}, noImage(digest, err)
	}
	return i, nil
}

func noImage(what string, err error) error {
	code := wire.Code_CODE_LACKING
	if errors.Is(err, image.ErrNotFound) {
		code = wire.Code_CODE_NOT_FOUND
	}
	return &actors.Refusal{Code: code, Field: "image", Hint: "arcbox image pull " + what, Message: err.Error()}
}

// image finds the file of a machine's image; "" where it has none.
func (w *World) image(spec fsm.Spec) (string, error) {
	if spec.Image == "" {
		return "", nil
	}
	i, err := w.find(spec.Image)
	if arch := string(archOf(spec)); err == nil && i.Origin.Architecture != "" && i.Origin.Architecture != arch {
		return "", &actors.Refusal{Code: wire.Code_CODE_BAD_INPUT, Field: "image", Hint: "arcbox create --arch " + i.Origin.Architecture + " --image " + cmp.Or(spec.ImageName, spec.Image),
			Message: fmt.Sprintf("image %s: it is for %s, the machine is %s", cmp.Or(spec.ImageName, spec.Image), i.Origin.Architecture, arch)}
	}
	if r, ok := errors.AsType[*actors.Refusal](err); ok && spec.ImageName != "" {
		r.Hint = "arcbox image pull " + spec.ImageName
	}
	return i.Path, err
}

// makeDisk makes the data disk of a machine, whose lock is held, where the
// journal does not say that it was made. Where it does, what is there is used,
// or nothing: a disk that has vanished is not made anew in silence. What was to
// grow since grows now, and the guest's file system when it is mounted.
func (w *World) makeDisk(ref actors.Ref, spec fsm.Spec, formatted []string) ([]fsm.DiskFormattedFact, error) {
	if spec.Image == "" {
		return nil, nil
	}
	path := filepath.Join(w.place(ref).Dir, disk.FileName)
	if !slices.Contains(formatted, fsm.DataDisk) {
		if err := disk.Make(path, spec.Disk, uuid.New()); err != nil {
			return nil, fmt.Errorf("prepare: %w", err)
		}
		return []fsm.DiskFormattedFact{{Disk: fsm.DataDisk, Size: spec.Disk}}, nil
	}
	err := disk.Check(path)
	if err == nil {
		err = disk.Grow(path, spec.Disk)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &actors.Refusal{Code: wire.Code_CODE_UNSAFE, Hint: "arcbox journal list --machine " + ref.Name,
			Message: fmt.Sprintf("machine %q: its data disk %s is gone; it was made once, and is not made again: put it back, or remove the machine", ref.Name, path)}
	}
	if err != nil {
		return nil, &actors.Refusal{Code: wire.Code_CODE_UNSAFE, Hint: "ls -l " + path, Message: fmt.Sprintf("machine %q: %v", ref.Name, err)}
	}
	return nil, nil
}

// withDisks adds the image and the data disk to what a VM host is asked for.
func (w *World) withDisks(s hv.Spec, ref actors.Ref, spec fsm.Spec) (hv.Spec, error) {
	path, err := w.image(spec)
	if err != nil || path == "" {
		return s, err
	}
	s.Version = max(s.Version, hv.SpecVersionDisks)
	s.Disks = append(s.Disks,
		hv.Disk{Path: path, ReadOnly: true, Serial: guestwire.SerialImage},
		hv.Disk{Path: filepath.Join(s.Dir, disk.FileName), Serial: guestwire.SerialData},
	)
	return s, nil
}

// withModules adds the modules of the kernel that a machine with an image boots,
// last, so that no other disk has another name for them, and a word that says so.
func withModules(s *hv.Spec, spec fsm.Spec, from booted) {
	if spec.Image == "" || from.Tree == "" {
		return
	}
	s.Disks = append(s.Disks, hv.Disk{Path: from.Tree, ReadOnly: true, Serial: guestwire.SerialModules})
	s.Cmdline = "arcbox.modules=disk " + s.Cmdline
}

// words are what the guest is told on its kernel's command line. The agent takes
// the last of two, so a person's come last.
func (w *World) words(ref actors.Ref, o actors.Order) string {
	spec := o.Spec
	words := append([]string{"arcbox.name=" + ref.Name}, netWords(ref)...)
	if spec.Image != "" {
		words = append(words, "arcbox.root=image", "arcbox.id="+strings.ReplaceAll(ref.ID, "-", ""))
		if o.Of != nil {
			words = append(words, "arcbox.of="+strings.ReplaceAll(o.Of.ID, "-", "")+","+o.Of.Name)
		}
		if w.Zone != "" {
			words = append(words, "arcbox.zone="+w.Zone)
		}
	}
	if spec.Cmdline != "" {
		words = append(words, spec.Cmdline)
	}
	return strings.Join(words, " ")
}
