//go:build e2e

package e2e

import (
	"archive/tar"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/arcboxlabs/arcbox-engine/guest/image/imagetest"
)

// storeHolds fails where there is anything in the store but so many images.
func (b *bed) storeHolds(t *testing.T, after string, images int) {
	t.Helper()
	dir := filepath.Join(b.home, "data", "images")
	var found []string
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if rel, _ := filepath.Rel(dir, path); !slices.Contains([]string{".", "lock", "names.json", "stage"}, rel) {
			found = append(found, rel)
		}
		return err
	})
	if err != nil || len(found) != 2*images {
		t.Errorf("%s: in the store are %v, want %d images (%v)", after, found, images, err)
	}
}

// sized is a root file system's tar of some MiB.
func sized(t *testing.T, content string, mib int) []byte {
	t.Helper()
	return imagetest.Tar(t, "etc/", "etc/os-release=ID=test\nVERSION_ID=1\n", "content="+content, "big="+strings.Repeat(content, mib<<20/len(content)))
}

// half is an import that has half of its archive.
func (b *bed) half(web *imagetest.Site, name string) *running {
	b.t.Helper()
	r := b.begin("image", "import", web.URL+"/"+name+".tar", "--sha256", imagetest.Sum(web.Files["/"+name+".tar"]))
	select {
	case <-web.Half:
	case <-time.After(commandTime):
		b.t.Fatalf("%s is not asked for", name)
	}
	return r
}

// TestKilledPulls: neither a pull that was killed nor the end of an engine leaves
// anything in the way.
func TestKilledPulls(t *testing.T) {
	b := newBed(t)
	b.ok("engine", "start")
	web := imagetest.Serve(t, map[string][]byte{"/killed.tar": sized(t, "killed", 8), "/goes-on.tar": sized(t, "goes on", 8)}).Gated()
	killed := b.half(web, "killed")
	if err := killed.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if r := killed.wait(); r.code != -1 {
		t.Errorf("the killed pull ended with %d", r.code)
	}
	if out := b.ok("image", "ls", "-q"); out != "" {
		t.Errorf("after a killed pull there is %q", out)
	}
	other := b.half(web, "goes-on")
	old := b.engine().PID
	b.killEngine()
	b.eventually("the engine is dead", 10*time.Second, func() bool { return dead(old) })
	interrupted := b.half(web, "killed")
	if err := interrupted.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if r := interrupted.wait(); r.code != 130 {
		t.Errorf("the interrupted pull ended with %d", r.code)
	}
	close(web.Gate)
	if r := other.wait(); r.code != 0 {
		t.Errorf("a pull does not outlive the engine: %d", r.code)
	}
	b.storeHolds(t, "killed pulls", 1)
	b.ok("image", "import", web.URL+"/killed.tar", "--sha256", imagetest.Sum(web.Files["/killed.tar"]))
	b.storeHolds(t, "a second try", 2)
	b.ok("engine", "start")
}

// TestBadArchives: what is wrong with an archive is said, nothing is left of it,
// and the right one is taken afterwards.
func TestBadArchives(t *testing.T) {
	b := newBed(t)
	good := imagetest.Root(t, "good")
	packed := imagetest.XZ(t, good)
	link := func(kind byte, name, target string) tar.Header {
		return tar.Header{Typeflag: kind, Name: name, Linkname: target, Mode: 0o777}
	}
	for name, c := range map[string]struct {
		data []byte
		sum  string
		code int
		says string
	}{
		"digest":     {good, imagetest.Sum(packed), 7, "wrong digest"},
		"cut":        {good[:len(good)-5000], "", 1, "cut off"},
		"cut-packed": {packed[:len(packed)/2], "", 1, "cut off"},
		"text":       {[]byte(strings.Repeat("no tar ", 1000)), "", 1, "damaged, or no tar"},
		"empty":      {nil, "", 1, "no files"},
		"outside":    {imagetest.Tar(t, "a=1", "../../etc/passwd=2"), "", 7, `entry 2, "../../etc/passwd": leads outside`},
		"link":       {imagetest.TarOf(t, link(tar.TypeLink, "a", "../../etc/shadow")), "", 7, "leads outside"},
		"unlinked":   {imagetest.TarOf(t, link(tar.TypeLink, "a", "/etc/shadow")), "", 1, "not in the archive"},
		"device":     {imagetest.TarOf(t, tar.Header{Typeflag: tar.TypeChar, Name: "a", Devmajor: 1 << 20}), "", 1, "majors up to 4095"},
	} {
		args := []string{"image", "import", b.file(name+".tar", string(c.data), 0o600)}
		if c.sum != "" {
			args = append(args, "--sha256", c.sum)
		}
		r := b.run(args...)
		if r.code != c.code || r.out != "" {
			t.Errorf("%s: exit %d, %q; want %d", name, r.code, r.out, c.code)
		}
		has(t, name, r.err, c.says)
		b.storeHolds(t, name, 0)
	}
	b.ok("image", "import", b.file("right.tar.xz", string(packed), 0o600), "--sha256", imagetest.Sum(packed))
	// What is absolute is so in the image, and devices are the guest's.
	contained := imagetest.TarOf(t,
		tar.Header{Typeflag: tar.TypeDir, Name: "/dev/", Mode: 0o755}, tar.Header{Typeflag: tar.TypeBlock, Name: "/dev/sda", Devmajor: 8, Mode: 0o660},
		link(tar.TypeSymlink, "/etc", "/dev"), tar.Header{Typeflag: tar.TypeReg, Name: "/etc/shadow", Mode: 0o600}, link(tar.TypeLink, "hard", "/etc/shadow"),
	)
	b.ok("image", "import", b.file("contained.tar", string(contained), 0o600))
	b.storeHolds(t, "good ones", 2)
}

// TestImageSources: from a simplestreams server and from a registry, of names
// that exist and that don't.
func TestImageSources(t *testing.T) {
	b := newBed(t)
	web := imagetest.Streams(t, imagetest.XZ(t, imagetest.Root(t, "machine")), "Debian bookworm bookworm debian/12 "+runtime.GOARCH+" default")
	hub := imagetest.NewHub(t)
	hub.Push(t, "lib/box:1", imagetest.Container(t, runtime.GOARCH, imagetest.Root(t, "container"), imagetest.Tar(t, ".wh.content=")))
	b.env = append(b.env, "ARCBOX_IMAGE_SERVER="+web.URL+"/base")
	b.ok("image", "pull", "debian:12")
	b.ok("image", "pull", "oci:"+hub.Host+"/lib/box:1")
	if out := b.ok("image", "ls", "-q"); !strings.Contains(out, "debian:12") || !strings.Contains(out, hub.Host+"/lib/box:1") {
		t.Errorf("listed are %q", out)
	}
	for ref, says := range map[string]string{"debian:13": "debian:12 (bookworm)", "debain": "it has debian", hub.Host + "/lib/none": "lib/none"} {
		if r := b.run("image", "pull", ref); r.code == 0 || !strings.Contains(r.err, says) {
			t.Errorf("%s: exit %d, %q; want %s", ref, r.code, r.err, says)
		}
	}
	b.storeHolds(t, "unknown names", 2)
}

// TestImageOnFullDisk: a pull stops before the disk is full; where somebody else
// fills it in the middle, it ends; either way nothing is left.
func TestImageOnFullDisk(t *testing.T) {
	if !inOwnMounts(t) {
		return
	}
	const enough, little = 1 << 30, 6 << 20
	b := newBedOn(t, enough)
	resize := func(size int) {
		t.Helper()
		if err := unix.Mount("", b.home, "", unix.MS_REMOUNT, fmt.Sprintf("size=%d", size)); err != nil {
			t.Fatal(err)
		}
	}
	web := imagetest.Serve(t, map[string][]byte{"/root.tar": sized(t, "root", 8)}).Gated()
	middle := b.half(web, "root")
	b.eventually("the first half is written", time.Minute, func() bool { return used(t, b.home) >= 3<<20 })
	resize(little)
	close(web.Gate)
	r := middle.wait()
	if r.code != 1 {
		t.Errorf("the disk got full: exit %d, want 1", r.code)
	}
	has(t, "the disk got full", r.err, "no space left on device", "hint: arcbox image prune")
	b.storeHolds(t, "a disk that got full", 0)
	again := []string{"image", "import", web.URL + "/root.tar", "--sha256", imagetest.Sum(web.Files["/root.tar"])}
	r = b.run(again...)
	if r.code != 1 {
		t.Errorf("a full disk: exit %d, want 1", r.code)
	}
	has(t, "a full disk", r.err, "almost full", "hint: arcbox image prune")
	resize(enough)
	b.ok(again...)
	b.storeHolds(t, "room again", 1)
}

// used is what a file system holds.
func used(t *testing.T, dir string) int64 {
	t.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	return int64(st.Blocks-st.Bfree) * st.Bsize
}
