package pull

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math"
	"os"

	"github.com/arcboxlabs/arcbox-engine/guest/image"
	"github.com/arcboxlabs/arcbox-engine/guest/image/rootfs"
)

// Phase is what a pull is at.
type Phase string

// The phases of a pull, in order. A pull may skip some of them.
const (
	Waiting     Phase = "waiting"     // for another process that pulls the same
	Resolving   Phase = "resolving"   // what the reference stands for now
	Downloading Phase = "downloading" // and, where it goes in one, building
	Building    Phase = "building"
	Checking    Phase = "checking" // the image's digest
)

// Progress is how far a pull is. Total is 0 where nobody knows it.
type Progress struct {
	Phase       Phase
	Done, Total int64
}

// offer is what a source has for a reference at this moment.
type offer struct {
	origin image.Origin
	build  func(ctx context.Context, w *work) (rootfs.Result, error)
}

// work is what an image is made with.
type work struct {
	stage *image.Stage
	out   io.WriterAt
	meter *meter
	space *space
}

func (s *Sources) offer(ctx context.Context, ref image.Ref) (offer, error) {
	switch ref.Kind {
	case image.Machine:
		return s.offerMachine(ctx, ref)
	case image.OCI:
		return s.offerOCI(ctx, ref)
	case image.Tarball:
		return s.offerTarball(ref), nil
	}
	return offer{}, fmt.Errorf("a reference of the kind %q", ref.Kind)
}

// pull brings what a reference stands for now, and does nothing where that is
// there already.
func (s *Sources) pull(ctx context.Context, ref image.Ref, p *meter) (_ image.Image, err error) {
	st, err := s.store.Stage(ctx, s.key(ref), func() { p.phase(Waiting, 0) })
	if err != nil {
		return image.Image{}, err
	}
	defer st.Close()
	p.phase(Resolving, 0)
	o, err := s.offer(ctx, ref)
	if err != nil {
		return image.Image{}, err
	}
	if i, ok := s.store.Current(ref.Name, o.origin); ok {
		return i, nil
	}
	return s.make(ctx, ref.Name, o, st, p)
}

// make builds, checks and commits.
func (s *Sources) make(ctx context.Context, name string, o offer, st *image.Stage, p *meter) (image.Image, error) {
	f, err := os.OpenFile(st.File("image"), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return image.Image{}, err
	}
	defer f.Close()
	room := &space{dir: st.File("."), free: s.free, step: s.step}
	if err := room.look(); err != nil {
		return image.Image{}, err
	}
	out := s.write(f)
	made, err := o.build(ctx, &work{st, thrifty{out, room}, p, room})
	if err != nil {
		return image.Image{}, err
	}
	p.phase(Checking, made.Size)
	digest, err := digestOf(ctx, f, p.add)
	if err != nil {
		return image.Image{}, err
	}
	if err := errors.Join(f.Chmod(0o400), out.Sync()); err != nil {
		return image.Image{}, err
	}
	m := image.Manifest{Digest: digest, Size: made.Size, Files: made.Inodes, Created: s.opts.Now().UTC(), Origin: o.origin}
	describe(&m.Origin, made.Release)
	return s.store.Commit(ctx, f.Name(), name, m)
}

// describe fills in what the root file system says of itself.
func describe(o *image.Origin, release map[string]string) {
	if o.Distribution == "" {
		o.Distribution = release["ID"]
	}
	if o.Version == "" {
		o.Version = release["VERSION_ID"]
	}
}

// key names the stage of a reference: two pulls with one key would make the
// same image.
func (s *Sources) key(r image.Ref) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%s\n%s\n%s", r.Kind, r.Name, r.Source, r.SHA256, s.opts.Architecture))
	return fmt.Sprintf("%x", sum[:12])
}

// digestOf reads a file from its beginning.
func digestOf(ctx context.Context, f *os.File, seen func(int64)) (string, error) {
	h := sha256.New()
	r := &metered{ctx: ctx, r: io.NewSectionReader(f, 0, math.MaxInt64), seen: seen}
	if _, err := io.CopyBuffer(h, r, make([]byte, 1<<20)); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s%x", prefix, h.Sum(nil)), nil
}
