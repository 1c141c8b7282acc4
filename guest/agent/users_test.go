package agent

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	testPasswd = `root:x:0:0:root:/root:/bin/bash
# a comment:x
broken:x:nine:0::/:/bin/sh
ann:x:1000:1000:Ann,,,:/home/ann:/bin/zsh
42:x:7:8:named like a number:/home/42:/bin/sh
bob:x:1001:100::/home/bob:/bin/sh
unchanged:x:4294967295:0::/:/bin/sh
plain:x:1002:100::/home/plain:
`
	testGroup = `root:x:0:
users:x:100:ann
docker:x:998:ann,bob
wheel:x:10:bob
again:x:998:ann
ann:x:1000:ann
`
)

func TestFindAccount(t *testing.T) {
	ann := account{name: "ann", uid: 1000, gid: 1000, groups: []uint32{100, 998}, home: "/home/ann", shell: "/bin/zsh"}
	annIn := func(gid uint32) account {
		a := ann
		a.gid, a.groups = gid, nil
		return a
	}
	for _, test := range []struct {
		spec string
		want account
		err  string
	}{
		{spec: "root", want: account{name: "root", home: "/root", shell: "/bin/bash"}},
		{spec: "0", want: account{name: "root", home: "/root", shell: "/bin/bash"}},
		{spec: "ann", want: ann},
		{spec: "1000", want: ann},
		{spec: "ann:docker", want: annIn(998)},
		{spec: "1000:7", want: annIn(7)},
		{spec: "bob", want: account{name: "bob", uid: 1001, gid: 100, groups: []uint32{998, 10}, home: "/home/bob", shell: "/bin/sh"}},
		{spec: "plain", want: account{name: "plain", uid: 1002, gid: 100, home: "/home/plain", shell: "/bin/sh"}},
		{spec: "42", want: account{name: "42", uid: 7, gid: 8, home: "/home/42", shell: "/bin/sh"}},
		{spec: "5000", want: account{name: "5000", uid: 5000, gid: 5000, home: "/", shell: "/bin/sh"}},
		{spec: "nobody-here", err: `user "nobody-here"`},
		{spec: "ann:nogroup", err: `group "nogroup"`},
		{spec: "", err: "want name"},
		{spec: ":100", err: "want name"},
		{spec: "ann:", err: "want name"},
		{spec: "4294967295", err: "not a uid"},
		{spec: "4294967296", err: "not a uid"},
		{spec: "-1", err: "not a uid"},
		{spec: "broken", err: "not in"},
		{spec: "unchanged", err: "not in"},
	} {
		got, err := findAccount([]byte(testPasswd), []byte(testGroup), test.spec)
		if test.err != "" {
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("%q: %v, want an error with %q", test.spec, err, test.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", test.spec, err)
		} else if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(account{})); diff != "" {
			t.Errorf("%q: %s", test.spec, diff)
		}
	}
}

func TestFindAccountWithoutFiles(t *testing.T) {
	for _, spec := range []string{"root", "0"} {
		if a, err := findAccount(nil, nil, spec); err != nil || a.uid != 0 || a.home != "/root" {
			t.Errorf("%q: %+v, %v", spec, a, err)
		}
	}
}

func FuzzFindAccount(f *testing.F) {
	f.Add([]byte(testPasswd), []byte(testGroup), "ann:docker")
	f.Add([]byte("a:b:c"), []byte(":::"), "0:0")
	f.Fuzz(func(t *testing.T, passwd, group []byte, spec string) {
		a, err := findAccount(passwd, group, spec)
		if err == nil && (a.uid == 1<<32-1 || a.gid == 1<<32-1) {
			t.Fatalf("%q: %+v has an id that means unchanged", spec, a)
		}
	})
}
