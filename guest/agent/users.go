package agent

import (
	"bytes"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
)

// account is a user as a program is run as.
type account struct {
	name   string
	uid    uint32
	gid    uint32
	groups []uint32 // supplementary
	home   string
	shell  string
}

// root is who runs where there is no /etc/passwd.
var root = account{name: "root", home: "/root", shell: "/bin/sh"}

// findAccount reads "name", "uid", "name:group" or "uid:gid" by the contents
// of /etc/passwd and /etc/group. A name goes before a number. A uid that
// nobody has is its own gid and lives in /. A group that was named is the only
// one; else the user's supplementary groups come along.
func findAccount(passwd, group []byte, spec string) (account, error) {
	who, of, hasGroup := strings.Cut(spec, ":")
	if who == "" || (hasGroup && of == "") {
		return account{}, fmt.Errorf("user %q: want name, uid, name:group or uid:gid", spec)
	}
	a, err := findUser(passwd, who)
	if err != nil {
		return account{}, err
	}
	if hasGroup {
		a.gid, err = findGroup(group, of)
		return a, err
	}
	a.groups = groupsOf(group, a)
	return a, nil
}

func findUser(passwd []byte, who string) (account, error) {
	var byNumber *account
	number, isNumber := parseID(who)
	for fields := range entries(passwd, 7) {
		uid, ok := parseID(fields[2])
		gid, okGroup := parseID(fields[3])
		if !ok || !okGroup {
			continue
		}
		a := account{name: fields[0], uid: uid, gid: gid, home: fields[5], shell: fields[6]}
		if a.shell == "" {
			a.shell = root.shell // as passwd(5) has it
		}
		if a.name == who {
			return a, nil
		}
		if isNumber && uid == number && byNumber == nil {
			byNumber = &a
		}
	}
	switch {
	case byNumber != nil:
		return *byNumber, nil
	case who == root.name || isNumber && number == 0:
		return root, nil
	case isNumber:
		return account{name: who, uid: number, gid: number, home: "/", shell: root.shell}, nil
	}
	return account{}, fmt.Errorf("user %q: not in the guest's /etc/passwd, and not a uid", who)
}

func findGroup(group []byte, which string) (uint32, error) {
	for fields := range entries(group, 4) {
		if gid, ok := parseID(fields[2]); ok && fields[0] == which {
			return gid, nil
		}
	}
	if gid, ok := parseID(which); ok {
		return gid, nil
	}
	return 0, fmt.Errorf("group %q: not in the guest's /etc/group, and not a gid", which)
}

func groupsOf(group []byte, a account) []uint32 {
	var groups []uint32
	for fields := range entries(group, 4) {
		gid, ok := parseID(fields[2])
		if !ok || gid == a.gid || slices.Contains(groups, gid) {
			continue
		}
		if slices.Contains(strings.Split(fields[3], ","), a.name) {
			groups = append(groups, gid)
		}
	}
	return groups
}

// entries yields the lines of exactly n fields.
func entries(file []byte, n int) iter.Seq[[]string] {
	return func(yield func([]string) bool) {
		for line := range bytes.Lines(file) {
			fields := strings.Split(strings.TrimRight(string(line), "\r\n"), ":")
			if len(fields) == n && fields[0] != "" && !yield(fields) {
				return
			}
		}
	}
}

// parseID refuses 4294967295, which means "unchanged" to the kernel.
func parseID(s string) (uint32, bool) {
	id, err := strconv.ParseUint(s, 10, 32)
	return uint32(id), err == nil && id != 1<<32-1
}
