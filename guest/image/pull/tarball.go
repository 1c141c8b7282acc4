package pull

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/arcboxlabs/arcbox-engine/guest/image"
	"github.com/arcboxlabs/arcbox-engine/guest/image/rootfs"
)

// ErrDigest means that something is not what it was said to be.
var ErrDigest = errors.New("wrong digest")

// ErrNoStream is about a stream that nobody gave, or that was read already.
var ErrNoStream = errors.New("there is no stream to read an archive from")

// ErrPlain is about what anybody on the way could have changed.
var ErrPlain = errors.New("http is not protected: give the archive's SHA-256, or use https")

// maxRest bounds what may follow the end of a compressed archive.
const maxRest = 64 << 20

// offerTarball is an archive of a root file system: a file, a URL or a stream.
func (s *Sources) offerTarball(ref image.Ref) offer {
	o := image.Origin{Kind: image.Tarball, Reference: ref.Source, Architecture: s.opts.Architecture}
	if ref.SHA256 != "" {
		o.Digest = prefix + ref.SHA256
	}
	return offer{origin: o, build: func(ctx context.Context, w *work) (rootfs.Result, error) {
		return s.archive(ctx, ref.Source, ref.SHA256, w)
	}}
}

// archive builds the image while the archive is read, which is done once. The
// digest is known at the end, when nothing of the image is in use yet.
func (s *Sources) archive(ctx context.Context, source, sum string, w *work) (rootfs.Result, error) {
	raw, size, err := s.openArchive(ctx, source, sum)
	if err != nil {
		return rootfs.Result{}, err
	}
	defer raw.Close()
	phase := Building
	if isURL(source) {
		phase = Downloading
	}
	w.meter.phase(phase, size)
	hash := sha256.New()
	r := io.TeeReader(&metered{ctx: ctx, r: raw, seen: w.meter.add}, hash)
	made, err := rootfs.FromTar(ctx, w.out, s.opts.Limits, rootfs.Layer{
		Open:    func() (io.ReadCloser, error) { return io.NopCloser(r), nil },
		Trusted: sum != "",
	})
	if err == nil || sum != "" && ctx.Err() == nil {
		// With another archive than was meant, that is the error to tell of.
		if sumErr := check(r, hash.Sum, sum); sumErr != nil && (err == nil || errors.Is(sumErr, ErrDigest)) {
			err = sumErr
		}
	}
	return made, err
}

// check reads what is left of an archive and compares its digest.
func check(r io.Reader, result func([]byte) []byte, want string) error {
	n, err := io.Copy(io.Discard, io.LimitReader(r, maxRest))
	if err != nil {
		return err
	}
	if n == maxRest {
		return fmt.Errorf("more than %d MiB behind its end: %w", maxRest>>20, rootfs.ErrLimit)
	}
	if got := fmt.Sprintf("%x", result(nil)); want != "" && got != want {
		return fmt.Errorf("%w: the archive's SHA-256 is %s, not %s", ErrDigest, got, want)
	}
	return nil
}

func (s *Sources) openArchive(ctx context.Context, source, sum string) (io.ReadCloser, int64, error) {
	if source == image.Stream {
		r := s.stream()
		if r == nil {
			return nil, 0, ErrNoStream
		}
		return io.NopCloser(r), 0, nil
	}
	if isURL(source) {
		if strings.HasPrefix(source, "http:") && sum == "" {
			return nil, 0, ErrPlain
		}
		b, err := s.get(ctx, source)
		if err != nil {
			return nil, 0, err
		}
		return b, b.size, nil
	}
	f, err := os.Open(source)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = fmt.Errorf("%s is a directory: an archive of it is wanted (tar -C %s -cf x.tar .)", source, source)
	}
	if err != nil {
		_ = f.Close()
		return nil, 0, err
	}
	return f, info.Size(), nil
}

// stream gives the stream away, to the first who asks.
func (s *Sources) stream() io.Reader {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.opts.Stream
	s.opts.Stream = nil
	return r
}

func isURL(s string) bool { return strings.HasPrefix(s, "https://") || strings.HasPrefix(s, "http://") }
