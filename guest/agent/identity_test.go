package agent

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"
)

const testID = "0190aabbccddeeff0190aabbccddeeff"

// aRoot is a root with files, and the identity of a machine in it.
func aRoot(t *testing.T, files map[string]string) identity {
	t.Helper()
	i := identity{root: t.TempDir(), upper: t.TempDir(), name: "web", id: testID, zone: "Europe/Berlin"}
	for name, text := range files {
		path := filepath.Join(i.root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return i
}

func (i identity) has(t *testing.T, want map[string]string) {
	t.Helper()
	for name, text := range want {
		got, err := os.ReadFile(filepath.Join(i.root, name))
		if diff := cmp.Diff(text, string(got)); err != nil || diff != "" {
			t.Errorf("/%s: %v %s", name, err, diff)
		}
	}
}

// TestIdentityOfAnImage: what an image has of its builder becomes the machine's.
func TestIdentityOfAnImage(t *testing.T) {
	i := aRoot(t, map[string]string{
		"etc/hostname": "builder\n", "etc/machine-id": "00000000000000000000000000000001\n", "etc/resolv.conf": "nameserver 9.9.9.9\n",
		"etc/hosts": "127.0.0.1 localhost\n127.0.1.1 builder\n", "usr/share/zoneinfo/Europe/Berlin": "TZif",
	})
	if err := i.write(); err != nil {
		t.Fatal(err)
	}
	i.has(t, map[string]string{
		"etc/hostname": "web\n", "etc/machine-id": testID + "\n", "etc/resolv.conf": "nameserver 9.9.9.9\n",
		"etc/hosts": "127.0.0.1 localhost\n127.0.1.1\tweb\n", "etc/timezone": "Europe/Berlin\n",
	})
	if link, err := os.Readlink(filepath.Join(i.root, "etc/localtime")); err != nil || link != "/usr/share/zoneinfo/Europe/Berlin" {
		t.Errorf("localtime: %q, %v", link, err)
	}
}

// TestIdentityOfNothing: an empty root gets what every program expects.
func TestIdentityOfNothing(t *testing.T) {
	i := aRoot(t, nil)
	if err := i.write(); err != nil {
		t.Fatal(err)
	}
	i.has(t, map[string]string{"etc/hostname": "web\n", "etc/machine-id": testID + "\n", "etc/hosts": hostsWith("", "web")})
	if _, err := os.Lstat(filepath.Join(i.root, "etc/localtime")); err == nil {
		t.Error("a time zone was made that the image does not know")
	}
}

// TestIdentityChanged: what was changed inside stays.
func TestIdentityChanged(t *testing.T) {
	changed := map[string]string{"etc/hostname": "mine\n", "etc/hosts": "10.0.0.1 mine\n", "etc/machine-id": strings.Repeat("a", 32) + "\n"}
	i := aRoot(t, changed)
	i.upper = i.root
	if err := i.write(); err != nil {
		t.Fatal(err)
	}
	i.has(t, changed)
}

// TestIdentityRenamed: what was written for the name before is written anew, and what
// somebody has changed is not.
func TestIdentityRenamed(t *testing.T) {
	i := aRoot(t, nil)
	i.upper, i.given = i.root, filepath.Join(i.root, "given")
	start := func(name string) {
		t.Helper()
		i.name = name
		if err := i.write(); err != nil {
			t.Fatal(err)
		}
	}
	start("web")
	start("shop")
	i.has(t, map[string]string{"etc/hostname": "shop\n", "etc/hosts": hostsWith("", "shop"), "etc/machine-id": testID + "\n"})
	added := "10.0.0.9 db\n" + hostsWith("", "shop") + "10.0.0.8 cache\n"
	for path, text := range map[string]string{"etc/hostname": "mine\n", "etc/hosts": added} {
		if err := i.put(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	start("web")
	i.has(t, map[string]string{"etc/hostname": "mine\n", "etc/hosts": strings.Replace(added, "shop", "web", 1)})
	if err := os.WriteFile(i.given, []byte("{"), 0o600); err != nil { // of a host that lost its power
		t.Fatal(err)
	}
	start("shop")
	start("web")
	i.has(t, map[string]string{"etc/hostname": "mine\n", "etc/hosts": strings.Replace(added, "shop", "web", 1)})
}

// TestIdentityOfACopy: a machine whose disk is a copy has nothing of the other's by
// which the two could be taken for one; the rest of it stays. So it is where only the
// host knows that it is a copy.
func TestIdentityOfACopy(t *testing.T) {
	const other = "0190aabbccddeeff0190aabbccdd0000"
	for _, known := range []bool{true, false} {
		i := aRoot(t, map[string]string{
			"etc/hostname": "db\n", "etc/hosts": hostsWith("", "db"), "etc/machine-id": other + "\n", randomSeed: "seed",
			"etc/ssh/ssh_host_ed25519_key": "k", "etc/ssh/ssh_host_ed25519_key.pub": "p", "etc/ssh/ssh_host_rsa_key": "r", "etc/ssh/sshd_config": "c",
			"etc/ssh/ssh_host_ecdsa_key": "e",
		})
		i.upper, i.given = i.root, filepath.Join(i.root, "given")
		was := givenIdentity{"db", other}
		if known {
			before := i
			before.name, before.id = was.Name, was.ID
			if err := before.give(givenIdentity{}); err != nil {
				t.Fatal(err)
			}
		} else {
			i.of = was
		}
		if err := i.write(); err != nil {
			t.Fatal(err)
		}
		i.has(t, map[string]string{"etc/hostname": "web\n", "etc/hosts": hostsWith("", "web"), "etc/machine-id": testID + "\n", "etc/ssh/sshd_config": "c"})
		for _, gone := range []string{randomSeed, "etc/ssh/ssh_host_rsa_key"} {
			if _, err := os.Lstat(filepath.Join(i.root, gone)); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s: %v", gone, err)
			}
		}
		var keys []string
		for path := range sshKeys {
			text, err := os.ReadFile(filepath.Join(i.root, path))
			if err != nil {
				t.Fatal(err)
			}
			signer, err := ssh.ParsePrivateKey(text)
			if err != nil {
				t.Fatalf("/%s: %v", path, err)
			}
			i.has(t, map[string]string{path + ".pub": strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey()))) + " root@web\n"})
			keys = append(keys, string(text))
		}
		if err := i.write(); err != nil { // its next boots leave it as it is
			t.Fatal(err)
		}
		for n, path := range slices.Collect(maps.Keys(sshKeys)) {
			if text, err := os.ReadFile(filepath.Join(i.root, path)); err != nil || !slices.Contains(keys, string(text)) {
				t.Errorf("key %d was made twice: %v", n, err)
			}
		}
	}
}

// TestRenewIsFinished: what could not be renewed is renewed at the next boot, and what
// the machine removed of its image does not come back.
func TestRenewIsFinished(t *testing.T) {
	const key = "etc/ssh/ssh_host_ed25519_key"
	i := aRoot(t, map[string]string{key: "k", key + ".pub": "p", "etc/machine-id": "uninitialized\n"})
	i.given, i.of = filepath.Join(i.root, "given"), givenIdentity{"db", "0190aabbccddeeff0190aabbccdd0000"}
	for _, name := range []string{key, key + ".pub", "etc/ssh/ssh_host_ecdsa_key"} { // the last is a whiteout
		path := filepath.Join(i.upper, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	inTheWay := filepath.Join(i.root, key+".arcbox")
	if err := os.Mkdir(inTheWay, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := i.write(); err == nil {
		t.Error("a key that was not made is no fault")
	}
	i.has(t, map[string]string{key: "k"})
	if err := errors.Join(os.Remove(inTheWay), i.write()); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join(i.root, key)); err != nil || !strings.Contains(string(text), "PRIVATE KEY") {
		t.Errorf("%q, %v", text, err)
	}
	if _, err := os.Lstat(filepath.Join(i.root, "etc/ssh/ssh_host_ecdsa_key")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what was removed is back: %v", err)
	}
}

func TestHostsWith(t *testing.T) {
	const local = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
	for text, want := range map[string]string{
		"":                             local + "127.0.1.1\tweb\n",
		"127.0.0.1 localhost":          "127.0.0.1 localhost\n127.0.1.1\tweb\n",
		"# 127.0.0.1 localhost\n":      "# 127.0.0.1 localhost\n" + local + "127.0.1.1\tweb\n",
		"::1 localhost\n127.0.1.1 old": "::1 localhost\n127.0.1.1\tweb\n",
	} {
		if diff := cmp.Diff(want, hostsWith(text, "web")); diff != "" {
			t.Errorf("%q: %s", text, diff)
		}
	}
}

func TestFindInit(t *testing.T) {
	link := func(i identity, at, to string) {
		path := filepath.Join(i.root, at)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(to, path); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		name  string
		files map[string]string
		link  string // of /sbin/init
		want  distribution
	}{
		{name: "nothing"},
		{name: "systemd", files: map[string]string{"lib/systemd/systemd": ""}, link: "../lib/systemd/systemd", want: distribution{"/sbin/init", initSystemd}},
		{name: "systemd alone", files: map[string]string{"usr/lib/systemd/systemd": ""}, want: distribution{"/usr/lib/systemd/systemd", initSystemd}},
		{name: "sysvinit", files: map[string]string{"sbin/init": ""}, want: distribution{"/sbin/init", initOther}},
		{name: "a dangling link", link: "../lib/systemd/systemd"},
		{name: "busybox without a table", files: map[string]string{"bin/busybox": ""}, link: "../bin/busybox"},
		{name: "busybox for a program that is not there", link: "../bin/busybox",
			files: map[string]string{"bin/busybox": "", "etc/inittab": "# x\n::sysinit:/sbin/openrc sysinit\n::respawn:/bin/sh\n"}},
		{name: "busybox", link: "../bin/busybox", want: distribution{"/sbin/init", initBusybox},
			files: map[string]string{"bin/busybox": "", "sbin/openrc": "", "etc/inittab": "::sysinit:/sbin/openrc sysinit\ntty1::respawn:-/bin/sh\n"}},
	} {
		i := aRoot(t, test.files)
		if test.link != "" {
			link(i, "sbin/init", test.link)
		}
		got, ok := findInit(i.root)
		if got != test.want || ok != (test.want.path != "") {
			t.Errorf("%s: %+v, %v", test.name, got, ok)
		}
	}
}

// TestResolver: with a network its own name server answers, unless the machine, or
// a service of its image, has another mind.
func TestResolver(t *testing.T) {
	const path, old, own = "etc/resolv.conf", "nameserver 9.9.9.9\n", "nameserver 10.88.0.1\nsearch arcbox\n"
	for name, test := range map[string]struct {
		prepare func(*identity) error
		want    string
	}{
		"none":          {func(i *identity) error { return os.Remove(filepath.Join(i.root, path)) }, own},
		"the image's":   {func(*identity) error { return nil }, own},
		"the machine's": {func(i *identity) error { i.upper = i.root; return nil }, old},
		"a service's": {func(i *identity) error {
			file := filepath.Join(i.root, path)
			return errors.Join(os.Rename(file, file+".service"), os.Symlink("resolv.conf.service", file))
		}, old},
	} {
		i := aRoot(t, map[string]string{path: old})
		i.resolv = own
		if err := test.prepare(&i); err != nil {
			t.Fatal(err)
		}
		if err := i.resolver(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		i.has(t, map[string]string{path: test.want})
	}
}
