package image

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

// Ref is a reference that was understood.
type Ref struct {
	Kind   Kind
	Name   string // by which the store keeps what it stands for
	Source string // the reference in full: an OCI reference, a path, a URL, a name
	SHA256 string // what a tarball has to be; "" where nobody said it

	Distribution, Version string // of a machine image
}

func (r Ref) String() string {
	if r.Source == Stream {
		return "standard input"
	}
	return r.Source
}

// ErrReference means that a reference can't be understood.
var ErrReference = errors.New("no image reference")

const ociPrefix = "oci:"

var (
	machineForm = regexp.MustCompile(`^([a-z0-9][a-z0-9_-]*)(?::([a-z0-9][a-z0-9._-]*))?$`)
	nameForm    = regexp.MustCompile(`^[a-z0-9][a-z0-9._/:@-]*$`)
	packed      = regexp.MustCompile(`(?i)\.(tar|tar\.(gz|xz|zst|zstd)|tgz|txz|tzst)$`)
)

// IsDistribution tells whether a machine image's reference may begin so.
func IsDistribution(s string) bool {
	parts := machineForm.FindStringSubmatch(s)
	return parts != nil && parts[2] == ""
}

// IsSHA256 tells whether s is one, in the form of the tools.
func IsSHA256(s string) bool { return len(s) == 64 && isHex(s) }

func isHex(s string) bool { return strings.Trim(s, "0123456789abcdef") == "" }

// maxName bounds a name in the store.
const maxName = 255

// Parse understands a reference: see the package's comment for their forms.
func Parse(s string) (Ref, error) {
	switch {
	case strings.HasPrefix(s, "https://"), strings.HasPrefix(s, "http://"):
		return parseURL(s)
	case strings.HasPrefix(s, ociPrefix):
		return parseOCI(strings.TrimPrefix(s, ociPrefix))
	case s != "" && (filepath.IsAbs(s) || s[0] == '.' || packed.MatchString(s)):
		return parsePath(s)
	case hasRegistry(s):
		return parseOCI(s)
	}
	parts := machineForm.FindStringSubmatch(strings.ToLower(s))
	if parts != nil && len(s) < 128 {
		return Ref{Kind: Machine, Name: parts[0], Source: parts[0], Distribution: parts[1], Version: parts[2]}, nil
	}
	hint := ""
	if strings.Contains(s, "/") {
		hint = fmt.Sprintf("; for a container image say its registry (docker.io/%s), for a file begin with ./", s)
	}
	return Ref{}, fmt.Errorf("%.200q: %w: machine images are NAME or NAME:VERSION, container images REGISTRY/NAME or oci:NAME, "+
		"archives a path or a URL%s", s, ErrReference, hint)
}

// hasRegistry tells whether what is before the first slash is a host.
func hasRegistry(s string) bool {
	host, _, ok := strings.Cut(s, "/")
	return ok && (strings.ContainsAny(host, ".:") || host == "localhost")
}

func parseOCI(s string) (Ref, error) {
	r, err := name.ParseReference(s)
	if err != nil {
		return Ref{}, fmt.Errorf("%.200q: %w: %w", s, ErrReference, err)
	}
	full := r.Name()
	if rest, ok := strings.CutPrefix(full, name.DefaultRegistry+"/"); ok {
		full = "docker.io/" + rest
	}
	return Ref{Kind: OCI, Name: full, Source: full}, nil
}

func parseURL(s string) (Ref, error) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" {
		return Ref{}, fmt.Errorf("%.200q: %w: no URL", s, ErrReference)
	}
	return Ref{Kind: Tarball, Name: tarName(path.Base(u.Path)), Source: u.String()}, nil
}

func parsePath(s string) (Ref, error) {
	abs, err := filepath.Abs(s)
	if err != nil {
		return Ref{}, fmt.Errorf("%.200q: %w", s, err)
	}
	return Ref{Kind: Tarball, Name: tarName(filepath.Base(abs)), Source: abs}, nil
}

// tarName makes a name of a file's: rootfs of Rootfs.tar.xz.
func tarName(file string) string {
	base := strings.ToLower(packed.ReplaceAllString(file, ""))
	base = strings.Map(func(r rune) rune {
		if strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789._-", r) {
			return r
		}
		return '-'
	}, base)
	if base = strings.Trim(base, "._-"); base == "" {
		return "rootfs"
	}
	return base[:min(len(base), 128)]
}

// Named is the reference with another name in the store. Only an archive has no
// name of its own.
func (r Ref) Named(name string) (Ref, error) {
	if !nameForm.MatchString(name) || len(name) > maxName || isDigest(name) {
		return Ref{}, fmt.Errorf("the name %.200q: %w: lower-case letters, digits and ._/:@- are allowed, a letter or digit first",
			name, ErrReference)
	}
	r.Name = name
	return r, nil
}

// Stream is the source of an archive that comes on a stream.
const Stream = "-"

// FromStream is the reference to an archive on a stream. It has no name of its
// own.
func FromStream(name string) (Ref, error) {
	return Ref{Kind: Tarball, Source: Stream}.Named(name)
}

// Checked is the reference to an archive whose digest has to be sum.
func (r Ref) Checked(sum string) (Ref, error) {
	sum = strings.ToLower(strings.TrimPrefix(sum, prefix))
	if !IsSHA256(sum) {
		return Ref{}, fmt.Errorf("the SHA-256 %.200q: 64 hexadecimal digits are wanted", sum)
	}
	if r.Kind != Tarball {
		return Ref{}, fmt.Errorf("%s: a SHA-256 is for archives only, the digests of other images are checked anyway", r)
	}
	r.SHA256 = sum
	return r, nil
}
