package main

import (
	"errors"

	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/guest/kernel"
)

// The defaults and the bounds that are known without asking the engine. It
// knows more of them, e.g. what the host has.
const (
	defaultMemory = 4096 * mib
	minMemory     = 64 * mib
	maxCmdline    = 1024
)

var (
	backends = []string{"qemu", "vz", "sim"}
	policies = []string{"no", "on-failure", "always"}
	accels   = []string{"auto", "kvm", "tcg"}

	machineTypes = []string{"auto", "q35", "microvm"}
	vsocks       = []string{"auto", "user", "kernel"}
	archs        = []string{"amd64", "arm64"}
)

// specFlags are the flags that say what a machine is to be.
type specFlags struct {
	cpus                                                     int
	memory                                                   sizeValue
	kernel, initrd, cmdline, backend, restart, accel, script string
	blocks, volumes                                          []string
	machine, arch, vsock                                     string
	rosetta                                                  bool
	kernels                                                  func() (*kernel.Store, error)
	far                                                      func() bool
	imageFlags
	networkFlags
	setUp  provisionFlags
	labels []string

	path  string       // of a machine file
	file  *machineFile // what is in it; nil = none was given
	typed []string     // what is on the command line itself

	archived *archivedFile // what an archive says in its place; nil = there is none
}

var specNames = []string{"image", "server", "disk", "cpus", "memory", "kernel", "initrd", "cmdline", "backend", "restart", "accel", "machine", "arch", "vsock", "rosetta", "script", "block", "volume", "network", "egress", "port", "auto-ports", "socket", "user-data", "provision", "provision-timeout", "label"}

func (s *specFlags) add(a *app, cmd *cobra.Command) {
	s.memory, s.kernels, s.far = defaultMemory, a.kernels, a.isFar
	f := cmd.Flags()
	f.IntVar(&s.cpus, "cpus", 0, "virtual CPUs (default: the host's cores)")
	s.imageFlags.add(a, cmd)
	s.networkFlags.add(a, cmd)
	s.setUp.add(cmd)
	f.Var(&s.memory, "memory", "memory: a bare number is MiB; K, M, G, T are binary")
	f.StringVar(&s.kernel, "kernel", "", "kernel to boot, by its name or a file (default: that of arcbox kernel use)")
	f.StringVar(&s.initrd, "initrd", "", "initramfs to boot (default: the engine's own)")
	f.StringVar(&s.cmdline, "cmdline", "", "kernel arguments, added to the engine's")
	f.StringVar(&s.backend, "backend", "", "qemu, vz or sim (default: what this host has)")
	f.StringVar(&s.restart, "restart", "no", "start it again by itself: no, on-failure or always")
	f.StringVar(&s.accel, "accel", "auto", "how QEMU runs guest code: auto, kvm or tcg")
	f.StringVar(&s.machine, "machine", "auto", "what its VM is: q35, microvm, or auto, as boots of its kernel showed")
	f.StringVar(&s.arch, "arch", "", "its architecture: amd64 or arm64 (default: the host's, others run in software)")
	f.StringVar(&s.vsock, "vsock", "auto", "who is behind its vsock: user (the VM host), kernel (of this host: /dev/vhost-vsock), or auto: user")
	f.BoolVar(&s.rosetta, "rosetta", false, "run x86-64 programs in it, by Apple's Rosetta (only with backend vz, on Apple silicon)")
	f.StringVar(&s.script, "script", "", "what a sim machine does (only with --backend sim)")
	f.StringArrayVar(&s.blocks, "block", nil, "a file or a block device as a further disk: PATH or PATH:ro; again for more")
	f.StringArrayVar(&s.labels, "label", nil, "a word of your own to find it by: KEY or KEY=VALUE; again for more")
	f.StringArrayVarP(&s.volumes, "volume", "v", nil, "a directory of the host for the guest, read only unless it ends in :rw: HOST:GUEST[:rw]; again for more")
	f.StringVarP(&s.path, "file", "f", "", "a machine file (YAML) with these flags as keys; - is standard input. Flags go first")
	a.complete(cmd, "backend", backends...)
	a.complete(cmd, "restart", policies...)
	a.complete(cmd, "accel", accels...)
	a.complete(cmd, "machine", machineTypes...)
	a.complete(cmd, "arch", archs...)
	a.complete(cmd, "vsock", vsocks...)
	for flag, f := range map[string]completer{"kernel": a.completeKernelFlag, "volume": completeVolume} {
		if err := cmd.RegisterFlagCompletionFunc(flag, f); err != nil {
			panic(err) // it was added above
		}
	}
}

// spec checks the flags and makes the message. The engine checks again.
func (s *specFlags) spec(cmd *cobra.Command) (*wire.Spec, error) {
	if err := s.load(cmd); err != nil {
		return nil, usage(cmd, err)
	}
	far := s.far()
	cpus, cpusErr := s.cpusOf(cmd, far)
	image, kernelErr := s.kernelOf(cmd, far)
	initrd, initrdErr := bootFile("initrd", s.initrd, far)
	blocks, blockErr := parseBlocks(s.blocks, far)
	shares, shareErr := parseVolumes(s.volumes, far)
	provision, provisionErr := s.setUp.read(cmd, s.image)
	labels, labelErr := parseLabels(s.labels)
	for _, err := range []error{s.check(cmd), cpusErr, checkMemory(s.memory), s.checkWords(), kernelErr, initrdErr, blockErr, shareErr, provisionErr, labelErr} {
		if err != nil {
			return nil, usage(cmd, s.place(err))
		}
	}
	spec := &wire.Spec{
		Cpus: uint32(cpus), Memory: int64(s.memory), Kernel: image, Initrd: initrd, Cmdline: s.cmdline, //nolint:gosec // checked
		Backend: s.backend, Restart: s.restart, Accel: s.accel, Script: s.script, Board: strings.TrimPrefix(s.machine, "auto"), Blocks: blocks,
		Provision: provision, Labels: labels, Shares: shares, Rosetta: s.rosetta, Vsock: strings.TrimPrefix(s.vsock, "auto"), Arch: s.arch,
	}
	if err := s.connect(spec, far); err != nil {
		return nil, usage(cmd, s.place(err))
	}
	return spec, nil
}

// cpusOf is how many CPUs the machine gets; 0 leaves it to an engine elsewhere, whose
// host has other cores than this one.
func (s *specFlags) cpusOf(cmd *cobra.Command, far bool) (int, error) {
	switch {
	case cmd.Flags().Changed("cpus"):
		return s.cpus, checkCPUs(s.cpus)
	case far:
		return 0, nil
	}
	return runtime.NumCPU(), nil
}

func (s *specFlags) checkWords() error {
	for _, w := range []struct {
		flag, value string
		allowed     []string
	}{{"backend", s.backend, append([]string{""}, backends...)}, {"restart", s.restart, policies}, {"accel", s.accel, accels}, {"machine", s.machine, machineTypes}, {"arch", s.arch, append([]string{""}, archs...)}, {"vsock", s.vsock, vsocks}} {
		if !slices.Contains(w.allowed, w.value) {
			return badInput(w.flag, "--%s %q: one of %s", w.flag, shorten(w.value, 80), strings.TrimPrefix(strings.Join(w.allowed, ", "), ", "))
		}
	}
	if len(s.cmdline) > maxCmdline || printable(s.cmdline) != s.cmdline {
		return badInput("cmdline", "--cmdline %q: at most %d bytes on one line", shorten(s.cmdline, 80), maxCmdline)
	}
	if s.script != "" && s.backend != "sim" {
		return badInput("script", "--script: only with --backend sim")
	}
	return nil
}

// bootFile checks a file to boot, and makes its path absolute: the engine runs
// elsewhere.
func bootFile(flag, path string, far bool) (string, error) {
	if path == "" {
		return "", nil
	}
	abs, err := hostPath(path, far)
	if err != nil {
		return "", badInput(flag, "--%s %q: %v", flag, path, err)
	}
	if far {
		return abs, nil
	}
	info, err := os.Stat(abs)
	switch {
	case err != nil:
		err = rootCause(err) // the path is named already
	case !info.Mode().IsRegular():
		err = errors.New("not a file")
	case info.Size() == 0:
		err = errors.New("it is empty")
	}
	if err == nil {
		var f *os.File
		if f, err = os.Open(abs); err == nil { //nolint:gosec // only to see that it can be read
			err = f.Close()
		} else {
			err = rootCause(err)
		}
	}
	if err != nil {
		return "", badInput(flag, "--%s %q: a file that can be read: %v", flag, path, err)
	}
	return abs, nil
}

// given lists the spec's flags on the command line.
func (s *specFlags) given() []string {
	var out []string
	for _, name := range s.typed {
		out = append(out, "--"+name)
	}
	return out
}
