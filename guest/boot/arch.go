package boot

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/arcboxlabs/arcbox-engine/guest/buildid"
	"github.com/arcboxlabs/arcbox-engine/guest/files"
)

// Archs are the architectures that guests may have, as Go names them.
var Archs = []string{"amd64", "arm64"}

var elfMachines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}

func checkArch(arch string) error {
	if slices.Contains(Archs, arch) {
		return nil
	}
	return fmt.Errorf("architecture %q: %s are known", arch, strings.Join(Archs, " and "))
}

// archDir is where in a directory of assets those of an architecture are: the
// host's own in it, others in a directory of their name.
func archDir(dir, arch string) string {
	if arch == runtime.GOARCH {
		return dir
	}
	return filepath.Join(dir, arch)
}

// AgentBuild is the name of the build of an agent's file; "" = it has none.
func AgentBuild(path string) string {
	program, err := files.Open(path)
	if err != nil {
		return ""
	}
	defer func() { _ = program.Close() }() // only read
	return build(program)
}

// build is the name of a program's build. Whatever else may be an agent: another
// linker's has none.
func build(program io.ReaderAt) string {
	name, err := buildid.Of(program)
	if err != nil {
		return ""
	}
	return name
}

// AgentPath is where the agent for an architecture is, given where the host's is.
func AgentPath(agent, arch string) string {
	if arch == runtime.GOARCH {
		return agent
	}
	return agent + "-" + arch
}

// checkImage refuses the kernel image of another architecture. One that says of
// itself what it is for says it in its header.
func checkImage(image []byte, arch string) error {
	for _, k := range []struct {
		arch, magic string
		at          int
	}{{"amd64", "HdrS", 0x202}, {"arm64", "ARM\x64", 0x38}} {
		if k.arch != arch && len(image) > k.at && bytes.HasPrefix(image[k.at:], []byte(k.magic)) {
			return fmt.Errorf("it is for %s, and %s is wanted", k.arch, arch)
		}
	}
	return nil
}

// readApplets finds the applets of a busybox that can't be run here: their names
// stand in it in order, each ended by NUL, the last by one more.
func readApplets(busybox []byte) ([]string, error) {
	const first = "\x00[\x00[[\x00"
	_, names, found := bytes.Cut(busybox, []byte(first))
	if found {
		names, _, found = bytes.Cut(names, []byte{0, 0})
	}
	if !found || len(names) > 1<<16 {
		return nil, errors.New("busybox: the names of its applets are not in it")
	}
	list := append([]string{"[", "[["}, strings.Split(string(names), "\x00")...)
	if !slices.IsSorted(list) {
		return nil, errors.New("busybox: the names of its applets are not in order")
	}
	return parseApplets(strings.Join(list, "\n"))
}
