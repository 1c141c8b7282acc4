package pull

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"golang.org/x/sync/errgroup"

	"github.com/arcboxlabs/arcbox-engine/guest/image"
	"github.com/arcboxlabs/arcbox-engine/guest/image/rootfs"
)

const (
	maxLayers    = 512
	layersAtOnce = 3
	resolveTime  = 2 * time.Minute
)

// offerOCI is an image of a container registry, for Linux and our architecture.
// Who we are there is what Docker's configuration says.
func (s *Sources) offerOCI(ctx context.Context, ref image.Ref) (offer, error) {
	r, err := name.ParseReference(ref.Source)
	if err != nil {
		return offer{}, err
	}
	asking, cancel := context.WithTimeoutCause(ctx, resolveTime, ErrStalled)
	defer cancel()
	digest, err := s.ociDigest(asking, r)
	if err != nil {
		return offer{}, withCause(asking, err)
	}
	o := image.Origin{Kind: image.OCI, Reference: ref.Source, Digest: digest, Architecture: s.opts.Architecture}
	return offer{origin: o, build: func(ctx context.Context, w *work) (rootfs.Result, error) {
		// Asked for again by digest, with the context of the download.
		ctx, stop := context.WithCancelCause(ctx)
		defer stop(nil)
		img, err := remote.Image(r.Context().Digest(digest), s.ociOptions(ctx)...)
		if err != nil {
			return rootfs.Result{}, withCause(ctx, err)
		}
		return s.buildOCI(ctx, stop, img, w)
	}}, nil
}

func (s *Sources) ociOptions(ctx context.Context) []remote.Option {
	return []remote.Option{
		remote.WithContext(ctx), remote.WithTransport(s.opts.Transport), remote.WithUserAgent(userAgent),
		remote.WithAuthFromKeychain(authn.DefaultKeychain), remote.WithPlatform(s.platform()),
	}
}

func (s *Sources) platform() v1.Platform {
	p := v1.Platform{OS: "linux", Architecture: s.opts.Architecture}
	if p.Architecture == "arm64" {
		p.Variant = "v8"
	}
	return p
}

// ociDigest picks the image of our platform, and refuses one of another.
func (s *Sources) ociDigest(ctx context.Context, r name.Reference) (string, error) {
	d, err := remote.Get(r, s.ociOptions(ctx)...)
	if err != nil {
		return "", err
	}
	img, err := d.Image()
	if err != nil {
		return "", s.platforms(d, err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		return "", err
	}
	if want := s.platform(); config.Architecture != want.Architecture || config.OS != want.OS {
		return "", fmt.Errorf("the image is for %s/%s, and this is %s/%s", config.OS, config.Architecture, want.OS, want.Architecture)
	}
	digest, err := img.Digest()
	return digest.String(), err
}

// platforms adds to an error what an index has.
func (s *Sources) platforms(d *remote.Descriptor, err error) error {
	index, indexErr := d.ImageIndex()
	if indexErr != nil {
		return err
	}
	manifest, indexErr := index.IndexManifest()
	if indexErr != nil {
		return err
	}
	has := ""
	for _, m := range manifest.Manifests[:min(len(manifest.Manifests), 20)] {
		if m.Platform != nil && m.Platform.OS != "unknown" {
			has += " " + m.Platform.String()
		}
	}
	return fmt.Errorf("the image has nothing for %s; it is for%s: %w", s.platform(), has, err)
}

// buildOCI downloads the layers, which are needed twice, and merges them. The
// library checks their digests and sizes. What goes wrong with one layer stops
// the others.
func (s *Sources) buildOCI(ctx context.Context, stop context.CancelCauseFunc, img v1.Image, w *work) (rootfs.Result, error) {
	layers, total, err := s.layers(img)
	if err != nil {
		return rootfs.Result{}, withCause(ctx, err)
	}
	w.meter.phase(Downloading, total)
	var group errgroup.Group
	group.SetLimit(layersAtOnce)
	var files []rootfs.Layer
	for i, l := range layers {
		path := w.stage.File(fmt.Sprintf("layer-%03d", i))
		files = append(files, rootfs.Layer{Open: func() (io.ReadCloser, error) { return os.Open(path) }, Trusted: true})
		group.Go(func() error {
			err := s.download(ctx, stop, l, path, w)
			if err != nil {
				err = fmt.Errorf("layer %d: %w", i+1, withCause(ctx, err))
				stop(err)
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return rootfs.Result{}, err
	}
	w.meter.phase(Building, 0)
	return rootfs.FromLayers(ctx, w.out, s.opts.Limits, files)
}

// layers are the image's, with the bytes that they say they have.
func (s *Sources) layers(img v1.Image) (layers []v1.Layer, total int64, err error) {
	layers, err = img.Layers()
	if err != nil {
		return nil, 0, err
	}
	if len(layers) == 0 || len(layers) > maxLayers {
		return nil, 0, fmt.Errorf("%d layers, 1 to %d are allowed: %w", len(layers), maxLayers, rootfs.ErrLimit)
	}
	for _, l := range layers {
		kind, err := l.MediaType()
		if err != nil {
			return nil, 0, err
		}
		if !kind.IsLayer() || !kind.IsDistributable() {
			return nil, 0, fmt.Errorf("a layer of the type %s, which is no root file system's", kind)
		}
		size, err := l.Size()
		if err != nil {
			return nil, 0, err
		}
		if size < 0 || size > s.opts.Limits.Bytes-total {
			return nil, 0, fmt.Errorf("layers of more than %d bytes: %w", s.opts.Limits.Bytes, rootfs.ErrLimit)
		}
		total += size
	}
	return layers, total, nil
}

// download writes a layer as it comes. A server that stalls ends all of them.
func (s *Sources) download(ctx context.Context, stop context.CancelCauseFunc, l v1.Layer, path string, w *work) error {
	waits := s.watch(nil, stop)
	r, err := l.Compressed()
	waits.timer.Stop()
	if err != nil {
		return err
	}
	defer r.Close()
	waits.Reader = r
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(thriftyWriter{f, w.space}, &metered{ctx: ctx, r: waits, seen: w.meter.add})
	return errors.Join(err, f.Close())
}

// withCause tells why a context is over, which libraries do not.
func withCause(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && err != nil && !errors.Is(err, cause) {
		return fmt.Errorf("%w (%w)", cause, err)
	}
	return err
}
