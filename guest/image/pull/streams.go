package pull

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/arcboxlabs/arcbox-engine/guest/image"
	"github.com/arcboxlabs/arcbox-engine/guest/image/rootfs"
)

// DefaultIndex is where machine images come from: an index in the simplestreams
// form.
const DefaultIndex = "https://images.linuxcontainers.org"

const (
	maxIndex    = 64 << 20
	rootItem    = "root.tar.xz"
	bestVariant = "default"
)

// ErrUnknown means that an index has no image of that name. The error lists what
// it has.
var ErrUnknown = errors.New("the index has no such machine image")

// streams is streams/v1/index.json.
type streams struct {
	Index map[string]struct {
		DataType string `json:"datatype"`
		Path     string `json:"path"`
	} `json:"index"`
}

// products is what the index's path leads to.
type products struct {
	Products map[string]product `json:"products"`
}

// product is one distribution in one version for one architecture.
type product struct {
	Aliases  string                    `json:"aliases"` // debian/12,debian/bookworm,…
	Arch     string                    `json:"arch"`
	OS       string                    `json:"os"`
	Release  string                    `json:"release"`
	Title    string                    `json:"release_title"`
	Variant  string                    `json:"variant"`
	Versions map[string]productVersion `json:"versions"`
}

type productVersion struct {
	Items map[string]struct {
		Type   string `json:"ftype"`
		Path   string `json:"path"`
		SHA256 string `json:"sha256"`
		Size   int64  `json:"size"`
	} `json:"items"`
}

// archive is the root file system that is to be had.
type archive struct {
	url, sum, build string // build is the version's name, a date
	size            int64
}

// offerMachine finds the newest image of a name in the index.
func (s *Sources) offerMachine(ctx context.Context, ref image.Ref) (offer, error) {
	all, err := s.products(ctx)
	if err != nil {
		return offer{}, err
	}
	p, err := choose(all, ref)
	if err != nil {
		return offer{}, fmt.Errorf("%s: %w", s.opts.Index, err)
	}
	a, err := s.newest(p)
	if err != nil {
		return offer{}, fmt.Errorf("%s: %s: %w", s.opts.Index, ref, err)
	}
	o := image.Origin{
		Kind: image.Machine, Reference: a.url, Digest: prefix + a.sum, Architecture: s.opts.Architecture,
		Distribution: strings.ToLower(p.OS), Version: p.version(),
	}
	return offer{origin: o, build: func(ctx context.Context, w *work) (rootfs.Result, error) {
		return s.archive(ctx, a.url, a.sum, w)
	}}, nil
}

// products are those for our architecture, of the variant without extras.
func (s *Sources) products(ctx context.Context) ([]product, error) {
	var index streams
	if err := s.getJSON(ctx, "streams/v1/index.json", &index); err != nil {
		return nil, err
	}
	path := ""
	for _, name := range slices.Sorted(maps.Keys(index.Index)) {
		if i := index.Index[name]; i.DataType == "image-downloads" && (path == "" || name == "images") {
			path = i.Path
		}
	}
	if path == "" {
		return nil, fmt.Errorf("%s lists no images: %w", s.opts.Index, image.ErrDamaged)
	}
	var list products
	if err := s.getJSON(ctx, path, &list); err != nil {
		return nil, err
	}
	found := []product{}
	for _, key := range slices.Sorted(maps.Keys(list.Products)) {
		if p := list.Products[key]; p.Arch == s.opts.Architecture && p.Variant == bestVariant && image.IsDistribution(strings.ToLower(p.OS)) {
			found = append(found, p)
		}
	}
	return found, nil
}

func (s *Sources) getJSON(ctx context.Context, path string, into any) error {
	from, err := s.at(path)
	if err != nil {
		return err
	}
	b, err := s.get(ctx, from)
	if err != nil {
		return err
	}
	defer func() { _ = b.Close() }() // it was only read
	data, err := io.ReadAll(io.LimitReader(b, maxIndex+1))
	if err != nil {
		return fmt.Errorf("get %s: %w", from, err)
	}
	if len(data) > maxIndex {
		return fmt.Errorf("get %s: more than %d MiB: %w", from, maxIndex>>20, rootfs.ErrLimit)
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("get %s: %w: %w", from, image.ErrDamaged, err)
	}
	return nil
}

// at is a path below the index's URL, and nowhere else.
func (s *Sources) at(path string) (string, error) {
	base, err := url.Parse(s.opts.Index)
	if err != nil || !isURL(s.opts.Index) || base.Host == "" {
		return "", fmt.Errorf("the index %q: a URL that begins with https:// is wanted", s.opts.Index)
	}
	if path == "" || strings.Contains(path, "..") || strings.Contains(path, "://") {
		return "", fmt.Errorf("%s: the path %.200q: %w", s.opts.Index, path, image.ErrDamaged)
	}
	return base.JoinPath(path).String(), nil
}

// newest is the archive of the newest version that has one. Versions are named
// by their date, so that their names are in order.
func (s *Sources) newest(p product) (archive, error) {
	names := slices.Sorted(maps.Keys(p.Versions))
	for _, name := range slices.Backward(names) {
		for _, item := range p.Versions[name].Items {
			if item.Type != rootItem {
				continue
			}
			if !image.IsSHA256(item.SHA256) {
				return archive{}, fmt.Errorf("%s has no SHA-256: %w", item.Path, image.ErrDamaged)
			}
			from, err := s.at(item.Path)
			return archive{url: from, sum: item.SHA256, size: item.Size, build: name}, err
		}
	}
	return archive{}, fmt.Errorf("none of its %d versions has a %s", len(names), rootItem)
}
