//go:build cgo

package vz

import (
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/Code-Hex/vz/v3"

	"github.com/arcboxlabs/arcbox-engine/hv"
)

// ofThisMac is Virtualization.framework.
func ofThisMac() framework {
	return framework{Make: makeVM, Limits: macLimits, Identify: identify, Saves: hv.HostArch == hv.ArchARM64}
}

func macLimits() limits {
	return limits{
		MinCPUs:   int(vz.VirtualMachineConfigurationMinimumAllowedCPUCount()),
		MaxCPUs:   int(vz.VirtualMachineConfigurationMaximumAllowedCPUCount()),
		MinMemory: int64(vz.VirtualMachineConfigurationMinimumAllowedMemorySize()),
		MaxMemory: int64(vz.VirtualMachineConfigurationMaximumAllowedMemorySize()),
	}
}

// apple is one VM of the framework.
type apple struct {
	vm      *vz.VirtualMachine
	sockets *vz.VirtioSocketDevice
	states  chan state
}

// makeVM makes a VM that does not run yet.
func makeVM(c config, w wires) (machine, error) {
	cfg, err := build(c, w)
	if err != nil {
		return nil, faultOf(err)
	}
	ok, err := cfg.Validate()
	switch {
	case err != nil:
		return nil, faultOf(err)
	case !ok:
		return nil, errors.New("the framework refuses the configuration and does not say why")
	}
	v, err := vz.NewVirtualMachine(cfg)
	if err != nil {
		return nil, faultOf(err)
	}
	devices := v.SocketDevices()
	if len(devices) != 1 {
		return nil, fmt.Errorf("the VM has %d socket devices, 1 is wanted", len(devices))
	}
	a := &apple{vm: v, sockets: devices[0], states: make(chan state, maxEvents)}
	go a.follow()
	return a, nil
}

// build turns a config into the framework's.
func build(c config, w wires) (*vz.VirtualMachineConfiguration, error) {
	options := []vz.LinuxBootLoaderOption{vz.WithCommandLine(c.Cmdline)}
	if c.Initrd != "" {
		options = append(options, vz.WithInitrd(c.Initrd))
	}
	loader, err := vz.NewLinuxBootLoader(c.Kernel, options...)
	if err != nil {
		return nil, err
	}
	cfg, err := vz.NewVirtualMachineConfiguration(loader, uint(c.CPUs), uint64(c.Memory))
	if err != nil {
		return nil, err
	}
	for _, add := range []func(*vz.VirtualMachineConfiguration, config, wires) error{
		addPlatform, addConsoles, addSockets, addEntropy, addDisks, addNetwork, addShares,
	} {
		if err := add(cfg, c, w); err != nil {
			return nil, err
		}
	}
	return cfg, nil
}

// identify makes an identity that no other VM has.
func identify() ([]byte, error) {
	id, err := vz.NewGenericMachineIdentifier()
	if err != nil {
		return nil, faultOf(err)
	}
	return id.DataRepresentation(), nil
}

func addPlatform(cfg *vz.VirtualMachineConfiguration, c config, _ wires) error {
	id, err := vz.NewGenericMachineIdentifierWithData(c.Identity)
	if err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	p, err := vz.NewGenericPlatformConfiguration(vz.WithGenericMachineIdentifier(id))
	if err != nil {
		return err
	}
	cfg.SetPlatformVirtualMachineConfiguration(p)
	return nil
}

// addConsoles: the order makes hvc0 and hvc1.
func addConsoles(cfg *vz.VirtualMachineConfiguration, _ config, w wires) error {
	var ports []*vz.VirtioConsoleDeviceSerialPortConfiguration
	for _, out := range []*os.File{w.Console, w.Log} {
		attachment, err := vz.NewFileHandleSerialPortAttachment(w.Null, out)
		if err != nil {
			return err
		}
		port, err := vz.NewVirtioConsoleDeviceSerialPortConfiguration(attachment)
		if err != nil {
			return err
		}
		ports = append(ports, port)
	}
	cfg.SetSerialPortsVirtualMachineConfiguration(ports)
	return nil
}

func addSockets(cfg *vz.VirtualMachineConfiguration, _ config, _ wires) error {
	device, err := vz.NewVirtioSocketDeviceConfiguration()
	if err != nil {
		return err
	}
	cfg.SetSocketDevicesVirtualMachineConfiguration([]vz.SocketDeviceConfiguration{device})
	return nil
}

func addEntropy(cfg *vz.VirtualMachineConfiguration, _ config, _ wires) error {
	device, err := vz.NewVirtioEntropyDeviceConfiguration()
	if err != nil {
		return err
	}
	cfg.SetEntropyDevicesVirtualMachineConfiguration([]*vz.VirtioEntropyDeviceConfiguration{device})
	return nil
}

func addDisks(cfg *vz.VirtualMachineConfiguration, c config, _ wires) error {
	var disks []vz.StorageDeviceConfiguration
	for _, d := range c.Disks {
		caching, sync := vz.DiskImageCachingModeUncached, vz.DiskImageSynchronizationModeFull
		if d.Cached {
			caching = vz.DiskImageCachingModeCached
		}
		if d.Fsync {
			sync = vz.DiskImageSynchronizationModeFsync
		}
		attachment, err := vz.NewDiskImageStorageDeviceAttachmentWithCacheAndSync(d.Path, d.ReadOnly, caching, sync)
		if err != nil {
			return fmt.Errorf("disk %q: %w", d.Path, err)
		}
		disk, err := vz.NewVirtioBlockDeviceConfiguration(attachment)
		if err != nil {
			return err
		}
		if err := disk.SetBlockDeviceIdentifier(d.Serial); err != nil {
			return fmt.Errorf("disk serial %q: %w", d.Serial, err)
		}
		disks = append(disks, disk)
	}
	cfg.SetStorageDevicesVirtualMachineConfiguration(disks)
	return nil
}

func addNetwork(cfg *vz.VirtualMachineConfiguration, c config, w wires) error {
	if c.NIC == nil {
		return nil
	}
	attachment, err := vz.NewFileHandleNetworkDeviceAttachment(w.Network)
	if err != nil {
		return err
	}
	if err := attachment.SetMaximumTransmissionUnit(c.NIC.MTU); err != nil {
		return fmt.Errorf("network mtu %d: %w", c.NIC.MTU, err)
	}
	device, err := vz.NewVirtioNetworkDeviceConfiguration(attachment)
	if err != nil {
		return err
	}
	hardware, err := net.ParseMAC(c.NIC.MAC)
	if err != nil {
		return err
	}
	mac, err := vz.NewMACAddress(hardware)
	if err != nil {
		return err
	}
	device.SetMACAddress(mac)
	cfg.SetNetworkDevicesVirtualMachineConfiguration([]*vz.VirtioNetworkDeviceConfiguration{device})
	return nil
}

func addShares(cfg *vz.VirtualMachineConfiguration, c config, _ wires) error {
	var devices []vz.DirectorySharingDeviceConfiguration
	add := func(tag string, share vz.DirectoryShare) error {
		device, err := vz.NewVirtioFileSystemDeviceConfiguration(tag)
		if err != nil {
			return fmt.Errorf("share %q: %w", tag, err)
		}
		device.SetDirectoryShare(share)
		devices = append(devices, device)
		return nil
	}
	for _, s := range c.Shares {
		directory, err := vz.NewSharedDirectory(s.Path, s.ReadOnly)
		if err != nil {
			return fmt.Errorf("share %q: %w", s.Path, err)
		}
		share, err := vz.NewSingleDirectoryShare(directory)
		if err != nil {
			return err
		}
		if err := add(s.Tag, share); err != nil {
			return err
		}
	}
	if c.Rosetta != "" {
		share, err := rosetta()
		if err != nil {
			return err
		}
		if err := add(c.Rosetta, share); err != nil {
			return err
		}
	}
	cfg.SetDirectorySharingDevicesVirtualMachineConfiguration(devices)
	return nil
}

// stateNames are the framework's states.
var stateNames = map[vz.VirtualMachineState]state{
	vz.VirtualMachineStateStopped:   stateStopped,
	vz.VirtualMachineStateRunning:   stateRunning,
	vz.VirtualMachineStatePaused:    statePaused,
	vz.VirtualMachineStateError:     stateError,
	vz.VirtualMachineStateStarting:  stateStarting,
	vz.VirtualMachineStatePausing:   statePausing,
	vz.VirtualMachineStateResuming:  stateResuming,
	vz.VirtualMachineStateStopping:  stateStopping,
	vz.VirtualMachineStateSaving:    stateSaving,
	vz.VirtualMachineStateRestoring: stateRestoring,
}

// follow is the one reader of the framework's channel, which is never closed.
func (a *apple) follow() {
	for s := range a.vm.StateChangedNotify() {
		st := stateNames[s]
		a.states <- st
		if st.over() {
			return
		}
	}
}

// States implements machine.
func (a *apple) States() <-chan state { return a.states }

// May implements machine.
func (a *apple) May(d deed) bool {
	switch d {
	case deedStart:
		return a.vm.CanStart()
	case deedPause:
		return a.vm.CanPause()
	case deedResume:
		return a.vm.CanResume()
	case deedAsk:
		return a.vm.CanRequestStop()
	case deedStop:
		return a.vm.CanStop()
	case deedSave:
		return a.vm.State() == vz.VirtualMachineStatePaused
	case deedRestore:
		return a.vm.State() == vz.VirtualMachineStateStopped
	}
	return false
}

// Do implements machine.
func (a *apple) Do(d deed, file string) error {
	switch d {
	case deedStart:
		return faultOf(a.vm.Start())
	case deedPause:
		return faultOf(a.vm.Pause())
	case deedResume:
		return faultOf(a.vm.Resume())
	case deedStop:
		return faultOf(a.vm.Stop())
	case deedSave:
		return faultOf(a.save(file))
	case deedRestore:
		return faultOf(a.restore(file))
	case deedAsk:
		ok, err := a.vm.RequestStop()
		if err == nil && !ok {
			err = errors.New("the framework did not ask the guest, and does not say why")
		}
		return faultOf(err)
	}
	return hv.ErrUnsupported
}

// Connect implements machine.
func (a *apple) Connect(port uint32) (stream, error) {
	c, err := a.sockets.Connect(port)
	if err != nil {
		return stream{}, faultOf(err)
	}
	return unwrap(c, c.SourcePort(), c.DestinationPort())
}

// Accept implements machine. The listener is never closed: the binding gives up
// its handle while a connection may be on its way to it.
func (a *apple) Accept(port uint32, take func(stream)) error {
	l, err := a.sockets.Listen(port)
	if err != nil {
		return faultOf(err)
	}
	go func() {
		for {
			c, err := l.AcceptVirtioSocketConnection() // an error is of one connection
			if err != nil {
				continue
			}
			if s, err := unwrap(c, c.DestinationPort(), c.SourcePort()); err == nil {
				take(s)
			}
		}
	}()
	return nil
}

// unwrap takes the socket out of the binding's connection.
func unwrap(c *vz.VirtioSocketConnection, local, remote uint32) (stream, error) {
	raw, err := rawOf(c)
	if err != nil {
		_ = c.Close()
		return stream{}, err
	}
	return streamOf(raw, local, remote)
}

// faultOf is an error of the binding in our words.
func faultOf(err error) error {
	var ns *vz.NSError
	switch {
	case errors.As(err, &ns):
		return fmt.Errorf("%w", &fault{Domain: ns.Domain, Code: ns.Code, Text: ns.LocalizedDescription, Info: ns.UserInfo})
	case errors.Is(err, vz.ErrUnsupportedOSVersion), errors.Is(err, vz.ErrBuildTargetOSVersion):
		return fmt.Errorf("%w: %w", ErrOldSystem, err)
	}
	return err
}
