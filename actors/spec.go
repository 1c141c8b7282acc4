package actors

import (
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/fsm"
)

// Limits are what this host can give to a machine.
type Limits struct {
	CPUs   int   // host cores
	Memory int64 // bytes
	// Arch is that of machines which name none; "" = it is left open.
	Arch string
	// Backends are what its VM hosts have beside sim, that of machines which name none
	// first; none = QEMU.
	Backends []string
}

func (l Limits) backends() []string {
	if len(l.Backends) == 0 {
		return []string{"qemu"}
	}
	return l.Backends
}

// What a spec may say.
const (
	MinMemory    = 64 << 20 // bytes
	maxCmdline   = 1024     // bytes; Linux takes 2,048 with ours
	maxScript    = 4096
	maxImageName = 512
	MinDisk      = 256 << 20 // a guest can grow Btrfs to no less
	MaxDisk      = 8 << 40
	defaultDisk  = 50 << 30
	diskUnit     = 1 << 20
)

// allowSimHint is what it takes to run a sim.
const allowSimHint = "arcbox engine stop && arcbox engine start --allow-sim"

// kernelName is how a kernel of the store is named.
var kernelName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)

var label = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$`)

var imageDigest = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// owner is the form of an owner, which is a file's name, too.
var owner = regexp.MustCompile(`^[0-9a-f]{32}$`)

// checkName refuses what is no RFC 1123 label.
func checkName(name string) error {
	if label.MatchString(name) {
		return nil
	}
	return badInput("name", "name %q: 1 to 63 letters, digits and hyphens, with a letter or digit at both ends", clip(name, 80))
}

// nameKey is what two names are compared by.
func nameKey(name string) string { return strings.ToLower(name) }

// checkSpec turns the wire's spec into ours, complete with defaults, or says
// which field is wrong, its value, and what is allowed.
func checkSpec(w *wire.Spec, l Limits, allowSim bool) (fsm.Spec, error) {
	s := fsm.Spec{
		Version: 1, CPUs: int(w.GetCpus()), Memory: w.GetMemory(), Kernel: w.GetKernel(), Initrd: w.GetInitrd(),
		Cmdline: w.GetCmdline(), Backend: or(w.GetBackend(), l.backends()[0]), Accel: or(w.GetAccel(), "auto"),
		Restart: fsm.Policy(or(w.GetRestart(), string(fsm.PolicyNo))), Script: w.GetScript(), Board: w.GetBoard(),
		Image: w.GetImage(), ImageName: w.GetImageName(), Disk: w.GetDisk(),
		Owner: w.GetOwner(), Rosetta: w.GetRosetta(), Vsock: vsockOf(w.GetVsock()),
	}
	if s.Image != "" && s.Disk == 0 {
		s.Disk = defaultDisk
	}
	if s.CPUs == 0 { // a client of another host does not know what this one has
		s.CPUs = l.CPUs
	}
	if r := checkCPUs(s, l); r != nil {
		return s, r
	}
	if r := checkMemory(s, l); r != nil {
		return s, r
	}
	if err := checkImage(s); err != nil {
		return s, err
	}
	if err := checkBackend(s, l, allowSim); err != nil {
		return s, err
	}
	var err error
	if s.Arch, err = checkArch(s, w.GetArch(), l); err != nil {
		return s, err
	}
	if err := checkText(s); err != nil {
		return s, err
	}
	if s.Blocks, err = checkBlocks(w.GetBlocks()); err != nil {
		return s, err
	}
	if s.Shares, err = checkShares(w.GetShares()); err != nil {
		return s, err
	}
	if s.Provision, err = checkProvision(w); err != nil {
		return s, err
	}
	var r *Refusal
	if s.Labels, r = checkLabels(w.GetLabels()); r != nil {
		return s, r
	}
	if s, r = protect(s, w.GetProtected()); r != nil {
		return s, r
	}
	return checkNetwork(s, w)
}

// vsockKernel is the host kernel's vsock; a machine of whose spec nothing is said
// has the VM host's.
const vsockKernel = "kernel"

// vsockOf leaves out what is meant where nothing is said.
func vsockOf(said string) string {
	if said == "auto" || said == "user" {
		return ""
	}
	return said
}

func checkCPUs(s fsm.Spec, l Limits) *Refusal {
	if s.CPUs < 1 || s.CPUs > l.CPUs {
		return badInput("cpus", "cpus %d: 1 to %d, the cores of this host", s.CPUs, l.CPUs)
	}
	return nil
}

func checkMemory(s fsm.Spec, l Limits) *Refusal {
	if s.Memory < MinMemory || s.Memory > l.Memory {
		return badInput("memory", "memory %s: 64M to %s, the memory of this host", sizeText(s.Memory), sizeText(l.Memory&^(1<<20-1)))
	}
	return nil
}

// checkImage: a machine has an image and a data disk, or neither.
func checkImage(s fsm.Spec) error {
	switch {
	case s.Image == "" && s.ImageName != "":
		return badInput("image", "image %q: its digest is missing", clip(s.ImageName, 80))
	case s.Image != "" && !imageDigest.MatchString(s.Image):
		return badInput("image", "image %q: a digest, sha256: and 64 hexadecimal digits", clip(s.Image, 80))
	case len(s.ImageName) > maxImageName || hasControl(s.ImageName):
		return badInput("image", "image name %q: at most %d bytes, no control characters", clip(s.ImageName, 80), maxImageName)
	}
	if r := checkDisk(s); r != nil {
		return r
	}
	return nil
}

func checkDisk(s fsm.Spec) *Refusal {
	switch {
	case s.Image == "" && s.Disk != 0:
		return badInput("disk", "disk %s: only a machine with an image has a disk", sizeText(s.Disk))
	case s.Image != "" && (s.Disk < MinDisk || s.Disk > MaxDisk || s.Disk%diskUnit != 0):
		return badInput("disk", "disk %s: %s to %s, whole MiB", sizeText(s.Disk), sizeText(MinDisk), sizeText(MaxDisk))
	}
	return nil
}

// sizeText is a size as create takes it: in MiB where it is so many, else in
// bytes.
func sizeText(n int64) string {
	if n%(1<<20) == 0 {
		return strconv.FormatInt(n>>20, 10) + "M"
	}
	return strconv.FormatInt(n, 10) + " bytes"
}

func checkBackend(s fsm.Spec, l Limits, allowSim bool) error {
	switch {
	case !slices.Contains([]string{"qemu", "vz", "sim"}, s.Backend):
		return badInput("backend", "backend %q: qemu, vz or sim", clip(s.Backend, 80))
	case s.Backend != "sim" && !slices.Contains(l.backends(), s.Backend):
		return badInput("backend", "backend %s: %s only, this host has %s", s.Backend, map[string]string{"qemu": "Linux", "vz": "macOS"}[s.Backend], strings.Join(l.backends(), ", "))
	case s.Backend == "sim" && !allowSim:
		return refuse(wire.Code_CODE_UNSAFE, allowSimHint, "backend sim: it runs no real VM, and this engine was started without --allow-sim")
	case !slices.Contains([]string{"auto", "kvm", "tcg"}, s.Accel):
		return badInput("accel", "accel %q: auto, kvm or tcg", clip(s.Accel, 80))
	case s.Accel != "auto" && s.Backend == "vz":
		return badInput("accel", "accel %q: backend vz has one way to run a guest: auto", s.Accel)
	case s.Vsock != "" && s.Vsock != vsockKernel:
		return badInput("vsock", "vsock %q: auto, user or kernel", clip(s.Vsock, 80))
	case s.Vsock == vsockKernel && s.Backend != "qemu":
		return badInput("vsock", "vsock kernel: backend %s has none, only qemu has it, on Linux", s.Backend)
	case s.Rosetta && s.Backend != "vz":
		return badInput("rosetta", "rosetta: backend %s has none, only vz has it, on a Mac with Apple silicon", s.Backend)
	case !slices.Contains([]string{"", "q35", "microvm"}, s.Board):
		return badInput("machine", "machine %q: auto, q35 or microvm", clip(s.Board, 80))
	case s.Board != "" && s.Backend != "qemu":
		return badInput("machine", "machine %q: only for backend qemu", s.Board)
	case !slices.Contains(fsm.Policies, s.Restart):
		return badInput("restart", "restart %q: no, on-failure or always", clip(string(s.Restart), 80))
	case s.Script != "" && s.Backend != "sim":
		return badInput("script", "script: only for backend sim")
	}
	return nil
}

// archs are the architectures that a machine may have.
var archs = []string{"amd64", "arm64"}

// checkArch says which architecture a machine has.
func checkArch(s fsm.Spec, asked string, l Limits) (string, error) {
	switch {
	case asked != "" && !slices.Contains(archs, asked):
		return "", badInput("arch", "arch %q: amd64 or arm64", clip(asked, 80))
	case asked != "" && s.Backend == "sim":
		return "", badInput("arch", "arch %q: a sim machine has none", asked)
	case s.Backend == "sim":
		return "", nil
	}
	arch := or(asked, l.Arch)
	switch {
	case s.Backend == "vz" && l.Arch != "" && arch != l.Arch:
		return "", badInput("arch", "arch %q: backend vz runs machines of its host's, %s", arch, l.Arch)
	case s.Rosetta && arch == "amd64":
		return "", badInput("rosetta", "rosetta: an amd64 machine needs none, and only Apple silicon has it")
	case s.Board != "" && arch == "arm64":
		return "", badInput("machine", "machine %q: an arm64 machine is always a virt; leave it out, or say auto", s.Board)
	case s.Accel == "kvm" && l.Arch != "" && arch != l.Arch:
		return "", badInput("accel", "accel kvm: this host is %s and runs no %s machines with it; auto or tcg", l.Arch, arch)
	}
	return arch, nil
}

func checkText(s fsm.Spec) error {
	files := []struct{ name, path, or string }{{"initrd", s.Initrd, ""}}
	if !kernelName.MatchString(s.Kernel) {
		files = append(files, struct{ name, path, or string }{"kernel", s.Kernel, ", or the name of a kernel (arcbox kernel ls)"})
	}
	for _, f := range files {
		if f.path != "" && (!filepath.IsAbs(f.path) || len(f.path) > 4096 || hasControl(f.path) || strings.Contains(f.path, ",")) {
			return badInput(f.name, "%s %q: an absolute path without commas and control characters%s", f.name, clip(f.path, 80), f.or)
		}
	}
	if len(s.Cmdline) > maxCmdline || hasControl(s.Cmdline) {
		return badInput("cmdline", "cmdline %q: at most %d bytes, no control characters", clip(s.Cmdline, 80), maxCmdline)
	}
	if s.Owner != "" && !owner.MatchString(s.Owner) {
		return badInput("owner", "owner %q: 32 hexadecimal digits", clip(s.Owner, 80))
	}
	if len(s.Script) > maxScript {
		return badInput("script", "script of %d bytes: at most %d", len(s.Script), maxScript)
	}
	return nil
}

func hasControl(s string) bool { return strings.ContainsFunc(s, unicode.IsControl) }

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n] + "…"
}
