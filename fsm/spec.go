package fsm

import "reflect"

// Spec is what a person asked a machine to be. Version 1.
type Spec struct {
	Version int    `cbor:"1,keyasint" json:"version"`
	CPUs    int    `cbor:"2,keyasint" json:"cpus"`
	Memory  int64  `cbor:"3,keyasint" json:"memory"`           // bytes
	Kernel  string `cbor:"4,keyasint,omitempty" json:"kernel"` // absolute path, or a name in the store; "" = the store's choice
	Initrd  string `cbor:"5,keyasint,omitempty" json:"initrd"` // absolute path; "" = the engine's own
	Cmdline string `cbor:"6,keyasint,omitempty" json:"cmdline"`
	Backend string `cbor:"7,keyasint,omitempty" json:"backend"` // "qemu", "vz", "sim"
	Accel   string `cbor:"8,keyasint,omitempty" json:"accel"`   // "auto", "kvm", "tcg"
	Restart Policy `cbor:"9,keyasint,omitempty" json:"restart"`
	// Script is what a sim machine does; only backend "sim" reads it.
	Script string `cbor:"10,keyasint,omitempty" json:"script,omitempty"`
	// Board is what its VM is built as, "q35" or "microvm"; "" = as boots of its
	// kernel showed, or the one that its architecture has.
	Board string `cbor:"30,keyasint,omitempty" json:"board,omitempty"`
	// Arch is its architecture, as Go names it; "" = its host's.
	Arch string `cbor:"90,keyasint,omitempty" json:"arch,omitempty"`
	// Image is the digest of the machine's image, ImageName what it was asked for
	// by, and Disk the size of its data disk in bytes. A machine has both or neither.
	Image     string `cbor:"11,keyasint,omitempty" json:"image,omitempty"`
	ImageName string `cbor:"12,keyasint,omitempty" json:"image_name,omitempty"`
	Disk      int64  `cbor:"13,keyasint,omitempty" json:"disk,omitempty"`
	// Blocks are the disks beside its own.
	Blocks []Block `cbor:"20,keyasint,omitempty" json:"blocks,omitempty"`
	// Owner names the command that the machine lives for: with its end the machine
	// is removed. "" = it has none, and stays.
	Owner string `cbor:"24,keyasint,omitempty" json:"owner,omitempty"`
	// Network is one of the networks; Egress where it may connect to (package
	// hv/network/egress), "" = anywhere; Ports are its forwards, and with AutoPorts
	// what its guest listens at has some, too.
	Network   string `cbor:"40,keyasint,omitempty" json:"network,omitempty"`
	Egress    string `cbor:"41,keyasint,omitempty" json:"egress,omitempty"`
	Ports     []Port `cbor:"42,keyasint,omitempty" json:"ports,omitempty"`
	AutoPorts bool   `cbor:"43,keyasint,omitempty" json:"auto_ports,omitempty"`
	// Shares are directories of the host that its guest has mounted.
	Shares []Share `cbor:"50,keyasint,omitempty" json:"shares,omitempty"`
	// Rosetta has its guest run x86-64 programs on Apple silicon; only backend "vz"
	// has it.
	Rosetta bool `cbor:"51,keyasint,omitempty" json:"rosetta,omitempty"`
	// Vsock is who is behind its guest's vsock: "kernel", the host's; "" = the VM host.
	Vsock string `cbor:"52,keyasint,omitempty" json:"vsock,omitempty"`
	// Provision is its first-boot set-up; nil = there is none.
	Provision *Provision `cbor:"60,keyasint,omitempty" json:"provision,omitempty"`
	// Labels are a person's own words, nil = there are none; Protected keeps the
	// machine from being removed.
	Labels    map[string]string `cbor:"80,keyasint,omitempty" json:"labels,omitempty"`
	Protected bool              `cbor:"81,keyasint,omitempty" json:"protected,omitempty"`
}

// Networks that a machine may have. "" is none: machines made before there were
// any have none.
const (
	NetworkNAT  = "nat"
	NetworkNone = ""
)

// Port is a socket of the host that leads to one of the guest.
type Port struct {
	Protocol string `cbor:"1,keyasint" json:"protocol"` // tcp, udp, unix
	Listen   string `cbor:"2,keyasint" json:"listen"`   // of the host: address and port, or a path
	To       string `cbor:"3,keyasint" json:"to"`       // of the guest: a port, or a path
	// In: the guest's socket leads to the host's, instead; of unix only.
	In bool `cbor:"4,keyasint,omitempty" json:"in,omitempty"`
}

// Lease is what a machine has on its engine's network, for its life.
type Lease struct {
	MAC     string `cbor:"1,keyasint" json:"mac"`
	Address string `cbor:"2,keyasint" json:"address"`
}

// Equal tells whether two specs say the same.
func (s Spec) Equal(o Spec) bool { return reflect.DeepEqual(s, o) }

// Block is a file, or a block device of the host, that a machine has as a disk.
type Block struct {
	Path     string `cbor:"1,keyasint" json:"path"` // absolute
	ReadOnly bool   `cbor:"2,keyasint,omitempty" json:"read_only,omitempty"`
	Serial   string `cbor:"3,keyasint" json:"serial"` // by which the guest finds it, for ever
}

// Share is a directory of the host that a machine's guest has mounted.
type Share struct {
	Host     string `cbor:"1,keyasint" json:"host"`  // absolute, without links on the way
	Guest    string `cbor:"2,keyasint" json:"guest"` // absolute
	Writable bool   `cbor:"3,keyasint,omitempty" json:"writable,omitempty"`
}
