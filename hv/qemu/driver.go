package qemu

import (
	"errors"
	"log/slog"
	"time"

	"github.com/arcboxlabs/arcbox-engine/hv"
)

// ErrNotFound is the answer where QEMU is not installed.
var ErrNotFound = errors.New("hv/qemu: QEMU is not installed")

// installs say how it gets there.
var installs = map[hv.Arch]string{
	hv.ArchAMD64: "Debian, Ubuntu: apt-get install qemu-system-x86; Fedora: dnf install qemu-system-x86-core",
	hv.ArchARM64: "Debian, Ubuntu: apt-get install qemu-system-arm; Fedora: dnf install qemu-system-aarch64-core",
}

// Options are what a driver can be told. The zero value is usable.
type Options struct {
	Log          *slog.Logger  // nil = none
	StartTimeout time.Duration // from the fork to the guest's first instruction; 0 = 20 s
	CallTimeout  time.Duration // of one QMP command, and for a QEMU whose QMP ended to be dead; 0 = 5 s
	RoomEvery    time.Duration // between two looks for room, where a guest waits for the host's disk; 0 = 5 s
}

// Driver runs VMs with QEMU.
type Driver struct {
	log          *slog.Logger
	startTimeout time.Duration
	callTimeout  time.Duration
	roomEvery    time.Duration
}

var _ hv.Driver = (*Driver)(nil)

// New makes a driver. It starts nothing.
func New(o Options) *Driver {
	d := &Driver{log: o.Log, startTimeout: o.StartTimeout, callTimeout: o.CallTimeout, roomEvery: o.RoomEvery}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	if d.startTimeout <= 0 {
		d.startTimeout = 20 * time.Second // less than an engine waits for the VM host
	}
	if d.callTimeout <= 0 {
		d.callTimeout = 5 * time.Second
	}
	if d.roomEvery <= 0 {
		d.roomEvery = 5 * time.Second
	}
	return d
}

// Name is hv.BackendQEMU.
func (d *Driver) Name() hv.Backend { return hv.BackendQEMU }

// Capabilities says what a VM of QEMU can do.
func (d *Driver) Capabilities() hv.Capabilities {
	return hv.Capabilities{
		PowerButton: true, Reboot: true, Listen: true, Grow: true, Pause: true, Save: true,
		Accels: []hv.Accel{hv.AccelKVM, hv.AccelTCG},
	}
}
