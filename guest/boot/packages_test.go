package boot

import (
	"context"
	"debug/elf"
	"encoding/binary"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The names are those of the distributions' archives. Debian 12 and 13 were run
// as well; Ubuntu was not, so this table is all that speaks for it.
func TestKernelPackages(t *testing.T) {
	for _, c := range []struct {
		id, version, arch string
		meta, depends     string
		image, release    string
		with, extra       []string
	}{
		{
			id: "debian", version: "12", arch: "amd64",
			meta: "linux-image-cloud-amd64", depends: "linux-image-6.1.0-56-cloud-amd64 (= 6.1.192-2)",
			image: "linux-image-6.1.0-56-cloud-amd64", release: "6.1.0-56-cloud-amd64",
		},
		{
			id: "debian", version: "13", arch: "amd64",
			meta: "linux-image-cloud-amd64", depends: "linux-image-6.12.57+deb13-cloud-amd64 (= 6.12.57-1)",
			image: "linux-image-6.12.57+deb13-cloud-amd64", release: "6.12.57+deb13-cloud-amd64",
		},
		{
			id: "debian", version: "12", arch: "arm64",
			meta: "linux-image-cloud-arm64", depends: "linux-image-6.1.0-56-cloud-arm64 (= 6.1.192-2)",
			image: "linux-image-6.1.0-56-cloud-arm64", release: "6.1.0-56-cloud-arm64",
		},
		{
			id: "ubuntu", version: "24.04", arch: "amd64",
			meta: "linux-image-virtual", depends: "linux-image-6.8.0-88-generic",
			image: "linux-image-6.8.0-88-generic", release: "6.8.0-88-generic",
			with: []string{"linux-modules-6.8.0-88-generic"}, extra: []string{"linux-modules-extra-6.8.0-88-generic"},
		},
		{
			id: "ubuntu", version: "24.04", arch: "amd64",
			meta: "linux-image-virtual", depends: "linux-firmware, linux-image-unsigned-6.8.0-88-generic | linux-image-6.8.0-88-generic:any (= 6.8.0-88.89)",
			image: "linux-image-6.8.0-88-generic", release: "6.8.0-88-generic",
			with: []string{"linux-modules-6.8.0-88-generic"}, extra: []string{"linux-modules-extra-6.8.0-88-generic"},
		},
	} {
		s, err := KernelSourceFor(c.id, c.version, c.arch)
		if err != nil {
			t.Fatal(err)
		}
		image, release, err := s.Image(c.depends)
		if err != nil {
			t.Fatal(err)
		}
		if s.Meta != c.meta || image != c.image || release != c.release {
			t.Errorf("%s %s: %s → %s, %s; want %s → %s, %s", c.id, c.version, s.Meta, image, release, c.meta, c.image, c.release)
		}
		if !slices.Equal(named(s.With, release), c.with) || !slices.Equal(named(s.Extra, release), c.extra) {
			t.Errorf("%s %s: with %v and %v, want %v and %v", c.id, c.version, named(s.With, release), named(s.Extra, release), c.with, c.extra)
		}
	}
}

func TestKernelPackagesRefusals(t *testing.T) {
	for _, c := range [][3]string{{"debian", "11", "amd64"}, {"fedora", "42", "amd64"}, {"", "", "amd64"}, {"debian", "12", "riscv64"}} {
		if _, err := KernelSourceFor(c[0], c[1], c[2]); err == nil {
			t.Errorf("%v: no error", c)
		}
	}
	s := debianCloud("amd64")
	for _, depends := range []string{"", "linux-image-generic", "linux-image-../../x", "kmod, linux-base"} {
		if image, _, err := s.Image(depends); err == nil {
			t.Errorf("depends %q: got %s, want an error", depends, image)
		}
	}
}

func TestParseFields(t *testing.T) {
	got := parseFields("# a comment\nID=\"ubuntu\"\nVERSION_ID='24.04'\nID=second\n continued=no\nrubbish\n\nAFTER=1\n", "=")
	if got["ID"] != "ubuntu" || got["VERSION_ID"] != "24.04" || got["AFTER"] != "" || len(got) != 2 {
		t.Errorf("got %v", got)
	}
}

func FuzzImage(f *testing.F) {
	f.Add("linux-image-6.1.0-56-cloud-amd64 (= 6.1.192-2), x | y")
	f.Fuzz(func(t *testing.T, depends string) {
		if image, _, err := ubuntuVirtual("").Image(depends); err == nil && strings.ContainsAny(image, "/ \n%") {
			t.Errorf("%q got through", image)
		}
	})
}

// fakeApt answers as apt and dpkg do, and keeps count.
type fakeApt struct {
	t     *testing.T
	shows map[string]string
	trees map[string]func(dir string) // package → what unpacking it makes
	calls []string
}

func (a *fakeApt) run(_ context.Context, dir, name string, args ...string) ([]byte, error) {
	a.calls = append(a.calls, name+" "+args[0])
	switch name {
	case "apt-cache":
		pkg := args[len(args)-1]
		if _, ok := a.shows[pkg]; !ok {
			return nil, errors.New("no packages found")
		}
		return []byte("Package: " + pkg + "\n" + a.shows[pkg]), nil
	case "apt-get":
		for _, pkg := range args {
			if a.trees[pkg] != nil {
				write(a.t, filepath.Join(dir, pkg+"_1_amd64.deb"), nil)
			}
		}
	case "dpkg-deb":
		pkg, _, _ := strings.Cut(filepath.Base(args[1]), "_")
		a.trees[pkg](args[2])
	}
	return nil, nil
}

// Ubuntu in small: image, modules, and the modules that are in the extra
// package only.
func ubuntuApt(t *testing.T, vsockIn string) *fakeApt {
	const release = "6.8.0-88-generic"
	a := &fakeApt{t: t, shows: map[string]string{
		"linux-image-virtual":    "Version: 6.8.0-88.89\nDepends: linux-image-" + release + "\n",
		"linux-image-" + release: "Version: 1:6.8.0-88.89\nDepends: kmod\n",
	}}
	modules := func(vsock bool) func(string) {
		return func(dir string) {
			lib := filepath.Join(dir, "lib/modules", release)
			write(t, filepath.Join(lib, "modules.builtin"), []byte("kernel/drivers/virtio/virtio_pci.ko\n"))
			if vsock {
				write(t, filepath.Join(lib, "kernel/vsock.ko.zst"), pack(t, zstded, fakeModule()))
				write(t, filepath.Join(lib, "kernel/vmw_vsock_virtio_transport.ko.zst"), pack(t, zstded, fakeModule("vsock")))
			}
		}
	}
	a.trees = map[string]func(string){
		// Readable by its owner only, as it is there.
		"linux-image-" + release: func(dir string) {
			if err := os.Chmod(write(t, filepath.Join(dir, "boot/vmlinuz-"+release), []byte("image")), 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"linux-modules-" + release:       modules(vsockIn == "modules"),
		"linux-modules-extra-" + release: modules(vsockIn == "extra"),
	}
	return a
}

func TestFetch(t *testing.T) {
	const ubuntu = "ID=ubuntu\nVERSION_ID=\"24.04\"\n"
	for _, vsockIn := range []string{"modules", "extra"} {
		t.Run(vsockIn, func(t *testing.T) {
			apt := ubuntuApt(t, vsockIn)
			f := fetcher{dir: filepath.Join(t.TempDir(), "kernel"), arch: "amd64", run: apt.run, log: slog.New(slog.DiscardHandler)}
			tree, err := f.kernelOf(t.Context(), ubuntu)
			if err != nil {
				t.Fatal(err)
			}
			if filepath.Base(tree) != "linux-image-6.8.0-88-generic_1%3a6.8.0-88.89" || !complete(tree) {
				t.Errorf("tree %s, complete: %v", tree, complete(tree))
			}
			downloads := func() (n int) {
				for _, c := range apt.calls {
					if c == "apt-get download" {
						n++
					}
				}
				return n
			}
			want := map[string]int{"modules": 1, "extra": 2}[vsockIn]
			if downloads() != want {
				t.Errorf("%d downloads, want %d", downloads(), want)
			}
			if again, err := f.kernelOf(t.Context(), ubuntu); err != nil || again != tree || downloads() != want {
				t.Errorf("again: %s, %v, %d downloads", again, err, downloads())
			}
			if left, _ := filepath.Glob(filepath.Join(f.dir, stagePrefix+"*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// Debian 12 has it in /bin, 13 in /usr/bin.
func TestFetchBusybox(t *testing.T) {
	for _, bin := range []string{"bin", "usr/bin"} {
		apt := &fakeApt{t: t, shows: map[string]string{"busybox-static": "Version: 1:1.37.0-6+b3\n"}}
		apt.trees = map[string]func(string){
			"busybox-static": func(dir string) { write(t, filepath.Join(dir, bin, "busybox"), fakeELF(nil)) },
		}
		f, dir := fetcher{arch: "amd64", run: apt.run, log: slog.New(slog.DiscardHandler)}, t.TempDir()
		want := filepath.Join(dir, "busybox-static_1%3a1.37.0-6+b3", bin, "busybox")
		for range 2 {
			if got, err := f.busybox(t.Context(), dir); err != nil || got != want {
				t.Errorf("%s: got %s, %v", bin, got, err)
			}
		}
		if n := len(apt.calls); n != 4 { // show, download, unpack; show
			t.Errorf("%s: asked %v", bin, apt.calls)
		}
	}
}

// Packages of another architecture come by lists of their own, which are brought up
// to date once; where that fails, what is there is used.
func TestFetchForeign(t *testing.T) {
	apt := &fakeApt{t: t, shows: map[string]string{"busybox-static": "Version: 1:1.35.0-4\n"}}
	program := fakeELF(nil)
	binary.LittleEndian.PutUint16(program[18:], uint16(elf.EM_AARCH64))
	apt.trees = map[string]func(string){
		"busybox-static": func(dir string) { write(t, filepath.Join(dir, "bin/busybox"), program) },
	}
	var said []string
	run := func(ctx context.Context, dir, name string, args ...string) ([]byte, error) {
		said = append(said, name+" "+strings.Join(args, " "))
		if args[0] == "update" {
			return nil, errors.New("no network")
		}
		return apt.run(ctx, dir, name, args...)
	}
	f, dir := fetcher{arch: "arm64", own: filepath.Join(t.TempDir(), "apt"), run: run, log: slog.New(slog.DiscardHandler)}, t.TempDir()
	want := filepath.Join(dir, "busybox-static_1%3a1.35.0-4_arm64", "bin", "busybox")
	for range 2 {
		if got, err := f.busybox(t.Context(), dir); err != nil || got != want {
			t.Errorf("got %s, %v", got, err)
		}
	}
	if n := len(said); n != 5 || !strings.HasPrefix(said[0], "apt-get update") { // show, download, unpack; show
		t.Errorf("asked %q", said)
	}
	for _, line := range said {
		if strings.HasPrefix(line, "apt") && (!strings.Contains(line, " APT::Architecture=arm64") || !strings.Contains(line, " Dir::State::lists="+f.own)) {
			t.Errorf("%s: the host's own lists or architecture", line)
		}
	}
	delete(apt.shows, "busybox-static")
	if _, err := f.busybox(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "--busybox") || strings.Contains(err.Error(), "sudo") {
		t.Errorf("error %v, want one that says what else can be done", err)
	}
}

func TestFetchWithoutLists(t *testing.T) {
	f := fetcher{dir: t.TempDir(), arch: "amd64", run: (&fakeApt{t: t}).run, log: slog.New(slog.DiscardHandler)}
	_, err := f.kernelOf(t.Context(), "ID=debian\nVERSION_ID=12\n")
	if err == nil || !strings.Contains(err.Error(), "apt-get update") {
		t.Errorf("error %v, want one that names apt-get update", err)
	}
}

func TestFindKernel(t *testing.T) {
	const a, b = "6.1.0-1", "6.12.1"
	for name, c := range map[string]struct {
		files   []string
		release string // "" = an error
	}{
		"plain":           {[]string{"boot/vmlinuz-" + a, "lib/modules/" + a + "/modules.builtin"}, a},
		"merged usr":      {[]string{"boot/vmlinuz-" + a, "usr/lib/modules/" + a + "/modules.builtin"}, a},
		"both":            {[]string{"boot/vmlinuz-" + a, "lib/modules/" + a + "/x", "usr/lib/modules/" + a + "/x"}, a},
		"image beside":    {[]string{"usr/lib/modules/" + b + "/vmlinuz"}, b},
		"modules alone":   {[]string{"lib/modules/" + a + "/x"}, ""},
		"image alone":     {[]string{"boot/vmlinuz-" + a}, ""},
		"two":             {[]string{"boot/vmlinuz-" + a, "lib/modules/" + a + "/x", "boot/vmlinuz-" + b, "lib/modules/" + b + "/x"}, ""},
		"nothing":         {nil, ""},
		"image elsewhere": {[]string{"boot/vmlinuz-" + b, "lib/modules/" + a + "/x"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for _, f := range c.files {
				write(t, filepath.Join(dir, f), nil)
			}
			k, err := findKernel(dir)
			if k.release != c.release || (err != nil) != (c.release == "") {
				t.Errorf("release %q, error %v; want %q", k.release, err, c.release)
			}
		})
	}
}
