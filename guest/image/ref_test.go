package image

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for s, want := range map[string]Ref{
		"debian:12":                    {Kind: Machine, Name: "debian:12", Source: "debian:12", Distribution: "debian", Version: "12"},
		"Ubuntu:24.04":                 {Kind: Machine, Name: "ubuntu:24.04", Source: "ubuntu:24.04", Distribution: "ubuntu", Version: "24.04"},
		"alpine":                       {Kind: Machine, Name: "alpine", Source: "alpine", Distribution: "alpine"},
		"docker.io/library/alpine":     {Kind: OCI, Name: "docker.io/library/alpine:latest", Source: "docker.io/library/alpine:latest"},
		"docker.io/alpine:3.22":        {Kind: OCI, Name: "docker.io/library/alpine:3.22", Source: "docker.io/library/alpine:3.22"},
		"oci:alpine":                   {Kind: OCI, Name: "docker.io/library/alpine:latest", Source: "docker.io/library/alpine:latest"},
		"localhost:5000/a/b:c":         {Kind: OCI, Name: "localhost:5000/a/b:c", Source: "localhost:5000/a/b:c"},
		"./Root FS.tar.xz":             {Kind: Tarball, Name: "root-fs", Source: filepath.Join(dir, "Root FS.tar.xz")},
		"rootfs.tgz":                   {Kind: Tarball, Name: "rootfs", Source: filepath.Join(dir, "rootfs.tgz")},
		"/x/.tar":                      {Kind: Tarball, Name: "rootfs", Source: "/x/.tar"},
		"https://x.org/d/b.tar.zst?a":  {Kind: Tarball, Name: "b", Source: "https://x.org/d/b.tar.zst?a"},
		"http://127.0.0.1:1/image.tar": {Kind: Tarball, Name: "image", Source: "http://127.0.0.1:1/image.tar"},
	} {
		got, err := Parse(s)
		if err != nil {
			t.Errorf("%s: %v", s, err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", s, d)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for s, hint := range map[string]string{
		"":                        "NAME:VERSION",
		"library/alpine":          "docker.io/library/alpine",
		"debian:12:x":             "NAME:VERSION",
		"de bian":                 "NAME:VERSION",
		"oci:UPPER/Case":          "reference",
		"https://":                "URL",
		"-x":                      "NAME",
		strings.Repeat("a", 1000): "NAME",
	} {
		if _, err := Parse(s); !errors.Is(err, ErrReference) || !strings.Contains(err.Error(), hint) {
			t.Errorf("%.50q: %v", s, err)
		}
	}
}

func TestNamedAndChecked(t *testing.T) {
	tarball := Ref{Kind: Tarball, Name: "a", Source: "/a"}
	sum := strings.Repeat("A0", 32)
	if r, err := tarball.Checked("sha256:" + sum); err != nil || r.SHA256 != strings.ToLower(sum) {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := tarball.Checked("a0"); err == nil {
		t.Error("a short sum was taken")
	}
	if _, err := (Ref{Kind: OCI}).Checked(sum); err == nil {
		t.Error("a sum for a container image was taken")
	}
	if r, err := tarball.Named("base/web:1"); err != nil || r.Name != "base/web:1" {
		t.Errorf("%+v, %v", r, err)
	}
	for _, name := range []string{"", "-a", "Web", "a b", "sha256:" + strings.Repeat("0", 64), strings.Repeat("x", 256)} {
		if _, err := tarball.Named(name); !errors.Is(err, ErrReference) {
			t.Errorf("%.20q: %v", name, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"debian:12", "oci:a/b@sha256:0", "./x.tar", "https://h/p", "docker.io/x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := Parse(s)
		if err == nil && (r.Name == "" || r.Source == "" || r.Kind == "") {
			t.Errorf("%q is %+v", s, r)
		}
		if err == nil && r.Kind != OCI && !nameForm.MatchString(r.Name) {
			t.Errorf("%q has the name %q", s, r.Name)
		}
	})
}
