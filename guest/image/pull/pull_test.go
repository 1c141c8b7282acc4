package pull

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/arcboxlabs/arcbox-engine/guest/image"
	"github.com/arcboxlabs/arcbox-engine/guest/image/imagetest"
	"github.com/arcboxlabs/arcbox-engine/guest/image/rootfs"
)

// progress keeps what it hears.
type progress struct {
	mu   sync.Mutex
	list []Progress
}

func (p *progress) hear(n Progress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.list = append(p.list, n)
}

func (p *progress) last(phase Phase) (Progress, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := len(p.list) - 1; i >= 0; i-- {
		if p.list[i].Phase == phase {
			return p.list[i], true
		}
	}
	return Progress{}, false
}

func TestOnePullServesEverybody(t *testing.T) {
	data := imagetest.Root(t, "one")
	web := imagetest.Serve(t, map[string][]byte{"/r.tar": data}).Gated()
	s := open(t, Options{})
	ref, err := parsed(t, web.URL+"/r.tar").Checked(imagetest.Sum(data))
	if err != nil {
		t.Fatal(err)
	}
	const waiters = 20
	var heard [waiters]progress
	images := make([]image.Image, waiters)
	var wg sync.WaitGroup
	for n := range waiters {
		wg.Go(func() {
			var err error
			if images[n], err = s.Pull(context.Background(), ref, heard[n].hear); err != nil {
				t.Error(err)
			}
		})
	}
	<-web.Half
	for n := range waiters {
		wait(t, "progress", func() bool {
			p, ok := heard[n].last(Downloading)
			return ok && p.Total == int64(len(data)) && p.Done < p.Total
		})
	}
	close(web.Gate)
	wg.Wait()
	for n := range waiters {
		if images[n].Digest != images[0].Digest || images[0].Digest == "" {
			t.Errorf("waiter %d got %+v", n, images[n])
		}
		if p, ok := heard[n].last(Checking); !ok || p.Done != p.Total {
			t.Errorf("waiter %d heard last of %+v", n, p)
		}
	}
	if n := web.Downloads("/r.tar"); n != 1 {
		t.Errorf("%d downloads", n)
	}
	// It is there now, and its digest is what was asked for.
	pull(t, s, ref)
	if n := web.Downloads("/r.tar"); n != 1 {
		t.Errorf("%d downloads of what is there", n)
	}
	clean(t, s, 1)
}

func TestGivingUp(t *testing.T) {
	data := imagetest.Root(t, "one")
	web := imagetest.Serve(t, map[string][]byte{"/r.tar": data}).Gated()
	s := open(t, Options{})
	ref, _ := parsed(t, web.URL+"/r.tar").Checked(imagetest.Sum(data))
	ctx, cancel := context.WithCancel(t.Context())
	one, two := make(chan error, 1), make(chan error, 1)
	go func() { _, err := s.Pull(ctx, ref, nil); one <- err }()
	<-web.Half
	stays, leave := context.WithCancel(t.Context())
	var p progress
	go func() { _, err := s.Pull(stays, ref, p.hear); two <- err }()
	wait(t, "the second waiter", func() bool { _, ok := p.last(Downloading); return ok })
	cancel()
	if err := <-one; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	select {
	case err := <-two:
		t.Fatalf("the second waiter was given up too: %v", err)
	default:
	}
	leave() // the last: the pull ends, and has cleaned up
	if err := <-two; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	clean(t, s, 0)
	close(web.Gate)
	pull(t, s, ref)
	clean(t, s, 1)
}

func TestFailuresLeaveNothing(t *testing.T) {
	good := imagetest.Root(t, "one")
	web := imagetest.Serve(t, map[string][]byte{
		"/good.tar": good, "/cut.tar": good[:len(good)-5000], "/cut.tar.xz": imagetest.XZ(t, good)[:300],
		"/outside.tar": imagetest.Tar(t, "a=1", "../../etc/passwd=2"), "/none.tar": imagetest.Tar(t), "/text.tar": []byte(strings.Repeat("text", 1000)),
	})
	s := open(t, Options{})
	pull(t, s, file(t, imagetest.Root(t, "before")))
	for _, c := range []struct {
		path, sum string
		want      error
	}{
		{"/good.tar", imagetest.Sum([]byte("another")), ErrDigest},
		{"/cut.tar", imagetest.Sum(good), ErrDigest}, // and not what is wrong with the tar
		{"/cut.tar", imagetest.Sum(good[:len(good)-5000]), rootfs.ErrTruncated},
		{"/cut.tar.xz", imagetest.Sum(imagetest.XZ(t, good)[:300]), rootfs.ErrTruncated},
		{"/outside.tar", imagetest.Sum(web.Files["/outside.tar"]), rootfs.ErrOutside},
		{"/none.tar", imagetest.Sum(web.Files["/none.tar"]), rootfs.ErrEmpty},
		{"/text.tar", imagetest.Sum(web.Files["/text.tar"]), rootfs.ErrDamaged},
		{"/good.tar", "", ErrPlain},
	} {
		ref := parsed(t, web.URL+c.path)
		ref.SHA256 = c.sum
		if _, err := s.Pull(t.Context(), ref, nil); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.path, err, c.want)
		}
		clean(t, s, 1)
	}
	for path, want := range map[string]string{"/missing.tar": "404", "/": "404"} {
		ref, _ := parsed(t, web.URL+path).Checked(imagetest.Sum(good))
		if _, err := s.Pull(t.Context(), ref, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := s.Pull(t.Context(), parsed(t, t.TempDir()), nil); err == nil || !strings.Contains(err.Error(), "tar -C") {
		t.Errorf("a directory: %v", err)
	}
	ref, _ := parsed(t, web.URL+"/good.tar").Checked(imagetest.Sum(good))
	pull(t, s, ref)
	clean(t, s, 2)
}

const (
	killedURL = "ARCBOX_TEST_KILLED_URL"
	killedDir = "ARCBOX_TEST_KILLED_DIR"
)

// TestMain makes this binary the other process of the tests below.
func TestMain(m *testing.M) {
	if url := os.Getenv(killedURL); url != "" {
		os.Exit(pullAsChild(url, os.Getenv(killedDir)))
	}
	os.Exit(m.Run())
}

func pullAsChild(source, dir string) int {
	store, err := image.Open(dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	url, sum, _ := strings.Cut(source, " ")
	s := Into(store, Options{})
	ref, err := image.Parse(url)
	if err == nil {
		ref, err = ref.Checked(sum)
	}
	if err == nil {
		_, err = s.Pull(context.Background(), ref, func(p Progress) { fmt.Println(p.Phase) })
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func child(t *testing.T, s *rig, url, sum string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), killedURL+"="+url+" "+sum, killedDir+"="+s.dir)
	cmd.Stderr = os.Stderr
	return cmd
}

func TestKilledPull(t *testing.T) {
	data := imagetest.Root(t, "one")
	web := imagetest.Serve(t, map[string][]byte{"/r.tar": data}).Gated()
	s := open(t, Options{})
	cmd := child(t, s, web.URL+"/r.tar", imagetest.Sum(data))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-web.Half
	left, err := os.ReadDir(filepath.Join(s.dir, "stage"))
	if err != nil || len(left) != 2 {
		t.Errorf("it stages %v, %v", left, err)
	}
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("it ended well")
	}
	if list, err := s.store.List(); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
	close(web.Gate)
	ref, _ := parsed(t, web.URL+"/r.tar").Checked(imagetest.Sum(data))
	pull(t, s, ref)
	clean(t, s, 1)
}

func TestAnotherProcessIsWaitedFor(t *testing.T) {
	data := imagetest.Root(t, "one")
	web := imagetest.Serve(t, map[string][]byte{"/r.tar": data}).Gated()
	s := open(t, Options{})
	cmd := child(t, s, web.URL+"/r.tar", imagetest.Sum(data))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-web.Half
	ref, _ := parsed(t, web.URL+"/r.tar").Checked(imagetest.Sum(data))
	var p progress
	got := make(chan error, 1)
	go func() { _, err := s.Pull(context.Background(), ref, p.hear); got <- err }()
	wait(t, "word of waiting", func() bool { _, ok := p.last(Waiting); return ok })
	close(web.Gate)
	if err := errors.Join(cmd.Wait(), <-got); err != nil {
		t.Error(err)
	}
	if n := web.Downloads("/r.tar"); n != 1 {
		t.Errorf("%d downloads", n)
	}
	clean(t, s, 1)
}
