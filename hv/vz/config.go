package vz

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/arcboxlabs/arcbox-engine/hv"
)

// baseCmdline is what every guest kernel is told. A panic stops the kernel, for
// nobody would hear of the reset; the agent's log has a console of its own.
const baseCmdline = "console=hvc0 quiet panic=0 random.trust_cpu=on cryptomgr.notests arcbox.log=hvc1"

// maxCmdline is the longest command line that an x86 or arm64 kernel reads.
const maxCmdline = 2047

// minMTU and maxMTU are the framework's.
const (
	minMTU = 1500
	maxMTU = 65535
)

// config is what the framework is asked for: a spec without what is not its
// business, every choice made.
type config struct {
	Kernel  string        `json:"kernel"`
	Initrd  string        `json:"initrd,omitempty"`
	Cmdline string        `json:"cmdline"`
	CPUs    int           `json:"cpus"`
	Memory  int64         `json:"memory"` // bytes, whole MiB
	Disks   []diskConfig  `json:"disks,omitempty"`
	NIC     *nicConfig    `json:"nic,omitempty"`
	Shares  []shareConfig `json:"shares,omitempty"`
	Rosetta string        `json:"rosetta,omitempty"` // its tag
	// Identity is who the VM is to the framework, in its words.
	Identity []byte `json:"identity,omitempty"`
}

// diskConfig is a raw file. Cached says that the host's page cache is used, and
// Fsync that what the guest flushes is synced: the framework's own choice has
// damaged file systems.
type diskConfig struct {
	Path     string `json:"path"`
	Serial   string `json:"serial"`
	ReadOnly bool   `json:"read_only,omitempty"`
	Cached   bool   `json:"cached"`
	Fsync    bool   `json:"fsync"`
}

type nicConfig struct {
	MAC string `json:"mac"`
	MTU int    `json:"mtu"`
}

type shareConfig struct {
	Tag      string `json:"tag"`
	Path     string `json:"path"`
	ReadOnly bool   `json:"read_only,omitempty"`
}

// configure is what a spec becomes. It touches nothing.
func configure(s hv.Spec) (config, error) {
	if err := check(s); err != nil {
		return config{}, err
	}
	c := config{
		Kernel: s.Kernel, Initrd: s.Initrd, Cmdline: kernelCmdline(s),
		CPUs: s.CPUs, Memory: ((s.Memory-1)>>20 + 1) << 20,
	}
	for _, d := range s.Disks {
		c.Disks = append(c.Disks, diskConfig{Path: d.Path, Serial: d.Serial, ReadOnly: d.ReadOnly, Cached: true, Fsync: true})
	}
	if s.NIC != nil {
		c.NIC = &nicConfig{MAC: s.NIC.MAC, MTU: s.NIC.MTU}
	}
	for _, sh := range s.Shares {
		c.Shares = append(c.Shares, shareConfig{Tag: sh.Tag, Path: sh.Path, ReadOnly: !sh.Writable})
	}
	if s.Rosetta {
		c.Rosetta = hv.RosettaTag
	}
	return c, nil
}

// kernelCmdline has the spec's words last: the kernel and the agent take the last
// of two.
func kernelCmdline(s hv.Spec) string {
	return strings.TrimSpace(baseCmdline + " " + strings.TrimSpace(s.Cmdline))
}

// check refuses what the framework would refuse less clearly, or not at all.
func check(s hv.Spec) error {
	if err := s.Validate(); err != nil {
		return err
	}
	switch {
	case s.Backend != hv.BackendVZ:
		return fmt.Errorf("hv/vz: backend %q: this driver is %q", s.Backend, hv.BackendVZ)
	case s.Accel != "" && s.Accel != hv.AccelAuto:
		return fmt.Errorf("hv/vz: accel %q: the framework has one way to run a guest; allowed is %q", s.Accel, hv.AccelAuto)
	case s.Architecture() != hv.HostArch:
		return fmt.Errorf("hv/vz: architecture %q: the framework runs guests of this Mac's, %s", s.Architecture(), hv.HostArch)
	case s.Board != "":
		return fmt.Errorf("hv/vz: board %q: the framework has one, which has no name", s.Board)
	case !filepath.IsAbs(s.Kernel):
		return fmt.Errorf("hv/vz: kernel %q: an absolute path is needed", s.Kernel)
	case s.Initrd != "" && !filepath.IsAbs(s.Initrd):
		return fmt.Errorf("hv/vz: initrd %q: an absolute path is needed", s.Initrd)
	case strings.ContainsAny(s.Cmdline, "\x00\n\r"):
		return fmt.Errorf("hv/vz: cmdline %q: one line without NUL is allowed", s.Cmdline)
	case s.NIC != nil && (s.NIC.MTU < minMTU || s.NIC.MTU > maxMTU):
		return fmt.Errorf("hv/vz: mtu %d: %d to %d", s.NIC.MTU, minMTU, maxMTU)
	}
	if n := len(kernelCmdline(s)); n > maxCmdline {
		return fmt.Errorf("hv/vz: cmdline: %d bytes with the engine's own words, the kernel reads at most %d", n, maxCmdline)
	}
	for _, d := range s.Disks {
		if d.Device {
			return fmt.Errorf("hv/vz: disk %q: a block device; only files can be disks with this backend", d.Path)
		}
	}
	return nil
}

// limits are the framework's own, of this Mac.
type limits struct {
	MinCPUs, MaxCPUs     int
	MinMemory, MaxMemory int64
}

// allow refuses what this Mac can't give.
func (l limits) allow(c config) error {
	if c.CPUs < l.MinCPUs || c.CPUs > l.MaxCPUs {
		return fmt.Errorf("hv/vz: cpus %d: this Mac gives a VM %d to %d", c.CPUs, l.MinCPUs, l.MaxCPUs)
	}
	if c.Memory < l.MinMemory || c.Memory > l.MaxMemory {
		return fmt.Errorf("hv/vz: memory %d MiB: this Mac gives a VM %d to %d MiB", c.Memory>>20, l.MinMemory>>20, l.MaxMemory>>20)
	}
	return nil
}

// rosettaHere refuses Rosetta where no Mac of this kind has it.
func rosettaHere(c config, arch hv.Arch) error {
	if c.Rosetta != "" && arch != hv.ArchARM64 {
		return fmt.Errorf("hv/vz: rosetta: only Macs with Apple silicon have it, this one is %s: %w", arch, hv.ErrUnsupported)
	}
	return nil
}
