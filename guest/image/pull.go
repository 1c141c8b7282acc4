package image

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"

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
	origin Origin
	build  func(ctx context.Context, st *stage, out io.WriterAt, p *meter) (rootfs.Result, error)
}

func (s *Store) offer(ctx context.Context, ref Ref) (offer, error) {
	switch ref.Kind {
	case Machine:
		return s.offerMachine(ctx, ref)
	case OCI:
		return s.offerOCI(ctx, ref)
	case Tarball:
		return s.offerTarball(ref), nil
	}
	return offer{}, fmt.Errorf("a reference of the kind %q", ref.Kind)
}

// pull brings what a reference stands for now, and does nothing where that is
// there already.
func (s *Store) pull(ctx context.Context, ref Ref, p *meter) (_ Image, err error) {
	key := ref.key(s.opts.Architecture)
	st, err := s.stage(ctx, key, func() { p.phase(Waiting, 0) })
	if err != nil {
		return Image{}, err
	}
	defer st.close()
	if err := s.tidy(ctx, key); err != nil {
		return Image{}, err
	}
	p.phase(Resolving, 0)
	o, err := s.offer(ctx, ref)
	if err != nil {
		return Image{}, err
	}
	if i, ok := s.current(ref.Name, o.origin); ok {
		return i, nil
	}
	return s.make(ctx, ref.Name, o, st, p)
}

// make builds, checks and commits.
func (s *Store) make(ctx context.Context, name string, o offer, st *stage, p *meter) (Image, error) {
	f, err := os.OpenFile(st.file("image"), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return Image{}, err
	}
	defer f.Close()
	out := s.write(f)
	made, err := o.build(ctx, st, out, p)
	if err != nil {
		return Image{}, err
	}
	p.phase(Checking, made.Size)
	digest, err := digestOf(ctx, f, p.add)
	if err != nil {
		return Image{}, err
	}
	if err := errors.Join(f.Chmod(0o400), out.Sync()); err != nil {
		return Image{}, err
	}
	m := Manifest{Format: format, Digest: digest, Size: made.Size, Files: made.Inodes, Created: s.opts.Now().UTC(), Origin: o.origin}
	m.Origin.describe(made.Release)
	return s.commit(ctx, f.Name(), name, m)
}

// describe fills in what the root file system says of itself.
func (o *Origin) describe(release map[string]string) {
	if o.Distribution == "" {
		o.Distribution = release["ID"]
	}
	if o.Version == "" {
		o.Version = release["VERSION_ID"]
	}
}

// key names the stage of a reference: two pulls with one key would make the
// same image.
func (r Ref) key(arch string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%s\n%s\n%s", r.Kind, r.Name, r.Source, r.SHA256, arch))
	return fmt.Sprintf("%x", sum[:12])
}
